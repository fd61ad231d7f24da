// Block Kit as DOM. Every function builds nodes from text; nothing here makes
// HTML out of a string, and the page's policy would not allow it.

import { h, isolate, lines, mention, safeLink, unknown } from "./dom.js";
import { field, menu } from "./fields.js";

const entities = (s) => s.replace(/&(amp|lt|gt);/g, (_, e) => ({ amp: "&", lt: "<", gt: ">" })[e]);

// Slack's date tokens, docs.slack.dev/messaging/formatting-message-text.
export function moment(seconds, format, fallback) {
  const at = new Date(seconds * 1000);
  if (Number.isNaN(at.getTime())) return document.createTextNode(fallback);
  const say = (options) => new Intl.DateTimeFormat(undefined, options).format(at);
  const day = (date) => Math.floor((date.getTime() - date.getTimezoneOffset() * 60000) / 86400000);
  const pretty = (other) => ({ "-1": "yesterday", 0: "today", 1: "tomorrow" })[day(at) - day(new Date())] || other;
  const long = say({ year: "numeric", month: "long", day: "numeric" });
  const short = say({ year: "numeric", month: "short", day: "numeric" });
  const tokens = {
    date_num: at.toISOString().slice(0, 10), date: long, date_short: short, date_long: say({ weekday: "long", year: "numeric", month: "long", day: "numeric" }),
    date_pretty: pretty(long), date_short_pretty: pretty(short), date_long_pretty: pretty(long),
    time: say({ hour: "2-digit", minute: "2-digit" }), time_secs: say({ hour: "2-digit", minute: "2-digit", second: "2-digit" }), ago: long,
  };
  const text = format.replace(/\{(\w+)\}/g, (all, token) => tokens[token] ?? all);
  return h("time", { datetime: at.toISOString(), title: fallback }, text);
}

function special(inner, ctx) {
  const bar = inner.indexOf("|");
  const target = bar < 0 ? inner : inner.slice(0, bar);
  const label = bar < 0 ? "" : entities(inner.slice(bar + 1));
  if (target.startsWith("@")) return mention("@" + (ctx.names[target.slice(1)] || label || target.slice(1)));
  if (target.startsWith("#")) return mention("#" + (ctx.names[target.slice(1)] || label || target.slice(1)));
  if (target.startsWith("!")) {
    const [kind, ...rest] = target.slice(1).split("^");
    if (kind === "date") return rest[2] ? safeLink(rest[2], moment(Number(rest[0]), rest[1] || "", label)) : moment(Number(rest[0]), rest[1] || "", label);
    if (kind === "subteam") return mention("@" + (ctx.names[rest[0]] || label || rest[0]));
    return mention("@" + kind, true); // here, channel, everyone: everybody would be notified
  }
  return safeLink(entities(target), label || entities(target));
}

const word = /[\p{L}\p{N}]/u;
const marks = { "*": "strong", _: "em", "~": "s" };

export function mrkdwn(text, ctx, verbatim = true) {
  const out = [];
  let plain = "";
  const flush = () => {
    if (!plain) return;
    const parts = verbatim ? [plain] : plain.split(/(https?:\/\/[^\s<>|]+)/);
    parts.forEach((part, i) => { if (part) out.push(...(i % 2 ? [safeLink(entities(part), entities(part))] : lines(entities(part)))); });
    plain = "";
  };
  for (let i = 0; i < text.length;) {
    const rest = text.slice(i);
    const before = i ? text[i - 1] : "";
    let m;
    if ((m = /^```\n?([\s\S]+?)\n?```/.exec(rest))) {
      flush(); out.push(h("pre", {}, isolate(h("code", {}, entities(m[1]))))); i += m[0].length;
    } else if ((m = /^`([^`\n]+)`/.exec(rest))) {
      flush(); out.push(isolate(h("code", {}, entities(m[1])))); i += m[0].length;
    } else if ((m = /^<([^<>\n]+)>/.exec(rest))) {
      flush(); out.push(special(m[1], ctx)); i += m[0].length;
    } else if (marks[text[i]] && !word.test(before) && (m = /^([*_~])(?=\S)([^\n]*?\S)\1(?![\p{L}\p{N}])/u.exec(rest)) && !m[2].startsWith(m[1])) {
      flush(); out.push(h(marks[m[1]], {}, mrkdwn(m[2], ctx, verbatim))); i += m[0].length;
    } else {
      plain += text[i]; i++;
    }
  }
  flush();
  return out;
}

export function textObject(t, ctx) {
  if (!t) return [];
  return t.type === "mrkdwn" ? mrkdwn(t.text, ctx, t.verbatim === true) : lines(t.text || "");
}

const plainOf = (t) => (t && t.text) || "";

function richLeaf(e, ctx) {
  const style = (node) => {
    const s = e.style || {};
    if (s.code) node = h("code", {}, node);
    if (s.bold) node = h("strong", {}, node);
    if (s.italic) node = h("em", {}, node);
    if (s.strike) node = h("s", {}, node);
    return node;
  };
  switch (e.type) {
    case "text": return style(h("span", {}, lines(e.text || "")));
    case "link": return style(safeLink(e.url, e.text || e.url));
    case "user": return mention("@" + (ctx.names[e.user_id] || e.user_id));
    case "usergroup": return mention("@" + (ctx.names[e.usergroup_id] || e.usergroup_id));
    case "channel": return mention("#" + (ctx.names[e.channel_id] || e.channel_id));
    case "broadcast": return mention("@" + e.range, true);
    case "date": return moment(e.timestamp, e.format || "", e.fallback || "");
    case "emoji": return e.unicode ? String.fromCodePoint(...e.unicode.split("-").map((x) => parseInt(x, 16))) : `:${e.name}:`;
  }
  return unknown(e);
}

function richElement(e, ctx) {
  const inside = () => (e.elements || []).map((x) => richLeaf(x, ctx));
  switch (e.type) {
    case "rich_text_section": return h("p", { class: "rich" }, inside());
    case "rich_text_preformatted": return h("pre", {}, isolate(h("code", {}, inside())));
    case "rich_text_quote": return h("blockquote", {}, inside());
    case "rich_text_list": return h(e.style === "ordered" ? "ol" : "ul", {}, (e.elements || []).map((x) => h("li", {}, richElement(x, ctx))));
  }
  return unknown(e);
}

function button(e, ctx) {
  const style = e.style === "primary" ? "main" : e.style === "danger" ? "danger" : "";
  return h("button", {
    type: "button", class: style, "data-key": `act ${e.action_id} ${e.value || ""}`, "aria-label": e.accessibility_label,
    onclick: (event) => {
      if (e.confirm && !window.confirm(plainOf(e.confirm.title) + "\n\n" + plainOf(e.confirm.text))) return;
      ctx.act(e, e.value || "", event.currentTarget);
    },
  }, lines(plainOf(e.text)));
}

function element(e, ctx) {
  if (e.type === "button" && e.url) return safeLink(e.url, plainOf(e.text));
  if (e.type === "button" && ctx.act) return button(e, ctx);
  if (e.type === "static_select" && e.options && ctx.choose) {
    return menu({
      key: "act " + e.action_id, closed: plainOf(e.placeholder) || "Choose…",
      options: e.options.map((o) => ({ value: o.value, label: plainOf(o.text) })), chosen: (value, node) => ctx.choose(e, value, node),
    });
  }
  if (e.type === "image") return h("span", { class: "picture" }, "[picture: " + (e.alt_text || "") + "]");
  if (e.type === "mrkdwn" || e.type === "plain_text") return isolate(h("span", {}, textObject(e, ctx)));
  return unknown(e);
}

// What an input of a form is in fields.js.
const kinds = {
  radio_buttons: "radio", checkboxes: "checkbox", static_select: "select", multi_static_select: "checkbox",
  plain_text_input: "line", number_input: "line", email_text_input: "line", url_text_input: "line",
};

function input(block, ctx) {
  const e = block.element || {};
  if (!kinds[e.type]) return unknown(block);
  const kind = e.multiline ? "paragraph" : kinds[e.type];
  const rich = kind === "radio" || kind === "checkbox"; // an option of a select is plain text
  const option = (o) => ({
    value: o.value, label: rich ? textObject(o.text, ctx) : plainOf(o.text), about: o.description ? textObject(o.description, ctx) : null,
  });
  const made = field({
    id: block.block_id, kind, required: !block.optional,
    label: [textObject(block.label, ctx), block.optional ? h("span", { class: "optional" }, " (optional)") : null],
    hint: block.hint ? textObject(block.hint, ctx) : null,
    value: ctx.value(block.block_id, e.action_id, e.type), max: e.max_length, placeholder: plainOf(e.placeholder), numeric: e.type === "number_input",
    options: (e.options || []).map(option),
    groups: e.option_groups && e.option_groups.map((g) => ({ label: plainOf(g.label), options: g.options.map(option) })),
    changed: (value) => (block.dispatch_action ? ctx.act(e, value) : ctx.changed(block.block_id, value)),
  });
  ctx.field({ ...made, action: e.action_id, type: e.type, first: e.focus_on_load === true });
  return made.node;
}

function block(b, ctx) {
  switch (b.type) {
    case "header": return isolate(h(ctx.heading || "h3", { class: "header" }, textObject(b.text, ctx)));
    case "section": return h("div", { class: "section" },
      h("div", {},
        b.text ? isolate(h("p", {}, textObject(b.text, ctx))) : null,
        b.fields ? h("div", { class: "fields" }, b.fields.map((f) => isolate(h("p", {}, textObject(f, ctx))))) : null),
      b.accessory ? element(b.accessory, ctx) : null);
    case "rich_text": return h("div", {}, (b.elements || []).map((e) => richElement(e, ctx)));
    case "context": return h("div", { class: "context" }, (b.elements || []).map((e) => element(e, ctx)));
    case "divider": return h("hr");
    case "actions": return h("div", { class: "actions" }, (b.elements || []).map((e) => element(e, ctx)));
    case "image": return h("p", { class: "picture" }, "[picture: " + (b.alt_text || "") + "]");
    case "alert": return h("div", { class: "note" }, textObject(b.text, ctx));
    case "input": if (ctx.field) return input(b, ctx);
  }
  return unknown(b);
}

// blocks draws a list of blocks. ctx holds names (by id), act(element, value,
// node) for what tells the app at once, choose(element, value, node) for a menu
// of a message, heading (a tag name); in a form also
// value(block id, action id, type), changed(block id, value), field(handle).
export function blocks(list, ctx) {
  return (list || []).map((b) => block(b, ctx));
}
