// Block Kit as DOM. Every function builds nodes from text; nothing here makes
// HTML out of a string, and the page's policy would not allow it.

export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

// Control characters that would change how the text around them reads are
// isolated: each piece of text keeps its direction to itself.
const isolate = (node) => { node.dir = "auto"; return node; };

const entities = (s) => s.replace(/&(amp|lt|gt);/g, (_, e) => ({ amp: "&", lt: "<", gt: ">" })[e]);

function lines(s) {
  const out = [];
  s.split("\n").forEach((line, i) => { if (i) out.push(h("br")); if (line) out.push(line); });
  return out;
}

function safeLink(url, label) {
  let ok = false;
  try { ok = ["http:", "https:", "mailto:"].includes(new URL(url).protocol); } catch { /* not an address */ }
  if (!ok) return h("span", {}, label);
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer", title: url }, label);
}

const mention = (label, loud) => h("span", { class: loud ? "mention loud" : "mention" }, label);

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

function unknown(what) {
  return h("details", { class: "unknown" },
    h("summary", {}, `This page does not draw “${what && what.type}”: here is its JSON`),
    h("pre", {}, h("code", {}, JSON.stringify(what, null, 2))));
}

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

function button(e, block, ctx) {
  const style = e.style === "primary" ? "main" : e.style === "danger" ? "danger" : "";
  return h("button", {
    type: "button", class: style, "data-key": "act " + e.action_id, "aria-label": e.accessibility_label,
    onclick: (event) => {
      if (e.confirm && !window.confirm(plainOf(e.confirm.title) + "\n\n" + plainOf(e.confirm.text))) return;
      ctx.act(e, block, e.value || "", event.currentTarget);
    },
  }, lines(plainOf(e.text)));
}

function element(e, block, ctx) {
  if (e.type === "button" && e.url) return safeLink(e.url, plainOf(e.text));
  if (e.type === "button" && ctx.act) return button(e, block, ctx);
  if (e.type === "image") return h("span", { class: "picture" }, "[picture: " + (e.alt_text || "") + "]");
  if (e.type === "mrkdwn" || e.type === "plain_text") return isolate(h("span", {}, textObject(e, ctx)));
  return unknown(e);
}

// The inputs of a form.

let ids = 0;

function choices(kind, e, block, ctx, about) {
  const now = new Set(String(ctx.typed(block, e)).split(",").filter(Boolean));
  const options = (e.options || []).map((o, i) => {
    const id = `in${++ids}`;
    const box = h("input", {
      type: kind, id, name: "in " + block.block_id, value: o.value, checked: now.has(o.value),
      "data-key": `in ${block.block_id} ${i}`,
    });
    return h("div", { class: "choice" }, box, h("label", { for: id }, textObject(o.text, ctx), o.description ? h("small", {}, textObject(o.description, ctx)) : null));
  });
  const set = h("fieldset", { class: "input", "aria-describedby": about.ids || null },
    h("legend", {}, about.label), options, about.below);
  const read = () => [...set.querySelectorAll("input:checked")].map((x) => x.value).join(",");
  set.addEventListener("change", () => ctx.changed(block, e, read()));
  return { node: set, read, focus: () => (set.querySelector("input:checked") || set.querySelector("input"))?.focus(), target: set };
}

function oneField(e, block, ctx, about) {
  const id = `in${++ids}`;
  const props = { id, "data-key": "in " + block.block_id, "aria-describedby": about.ids || null, "aria-required": block.optional ? null : "true" };
  let field;
  if (e.type === "plain_text_input" && e.multiline) field = h("textarea", { ...props, rows: "3" });
  else if (e.type === "static_select") {
    const groups = e.option_groups ? e.option_groups.map((g) => h("optgroup", { label: plainOf(g.label) }, g.options.map((o) => h("option", { value: o.value }, plainOf(o.text))))) : null;
    field = h("select", props, h("option", { value: "" }, plainOf(e.placeholder) || "Choose…"), groups || (e.options || []).map((o) => h("option", { value: o.value }, plainOf(o.text))));
  } else field = h("input", { ...props, type: "text", autocomplete: "off", inputmode: e.type === "number_input" ? "numeric" : null });
  if (e.max_length) field.maxLength = e.max_length;
  if (e.placeholder && field.tagName !== "SELECT") field.placeholder = plainOf(e.placeholder);
  field.value = ctx.typed(block, e);
  field.addEventListener("change", () => ctx.changed(block, e, field.value));
  const node = h("div", { class: "input" }, h("label", { for: id }, about.label), field, about.below);
  return { node, read: () => field.value, focus: () => field.focus(), target: field };
}

function input(block, ctx) {
  const e = block.element || {};
  const base = `field${++ids}`;
  const hint = block.hint ? h("p", { class: "hint", id: base + "-hint" }, textObject(block.hint, ctx)) : null;
  const error = h("p", { class: "error", id: base + "-error", hidden: true });
  const about = {
    label: [textObject(block.label, ctx), block.optional ? h("span", { class: "optional" }, " (optional)") : null],
    below: [hint, error], ids: [hint && hint.id, error.id].filter(Boolean).join(" "),
  };
  let made;
  switch (e.type) {
    case "radio_buttons": made = choices("radio", e, block, ctx, about); break;
    case "checkboxes": made = choices("checkbox", e, block, ctx, about); break;
    case "plain_text_input": case "number_input": case "static_select": case "email_text_input": case "url_text_input":
      made = oneField(e, block, ctx, about); break;
    default: return unknown(block);
  }
  ctx.field({
    ...made, id: block.block_id, action: e.action_id, kind: e.type, first: e.focus_on_load === true,
    say(problem) {
      error.textContent = problem ? "⚠ " + problem : "";
      error.hidden = !problem;
      made.node.classList.toggle("wrong", Boolean(problem));
      if (problem) made.target.setAttribute("aria-invalid", "true"); else made.target.removeAttribute("aria-invalid");
    },
  });
  return made.node;
}

function block(b, ctx) {
  switch (b.type) {
    case "header": return isolate(h(ctx.heading || "h3", { class: "header" }, textObject(b.text, ctx)));
    case "section": return h("div", { class: "section" },
      h("div", {},
        b.text ? isolate(h("p", {}, textObject(b.text, ctx))) : null,
        b.fields ? h("div", { class: "fields" }, b.fields.map((f) => isolate(h("p", {}, textObject(f, ctx))))) : null),
      b.accessory ? element(b.accessory, b, ctx) : null);
    case "rich_text": return h("div", {}, (b.elements || []).map((e) => richElement(e, ctx)));
    case "context": return h("div", { class: "context" }, (b.elements || []).map((e) => element(e, b, ctx)));
    case "divider": return h("hr");
    case "actions": return h("div", { class: "actions" }, (b.elements || []).map((e) => element(e, b, ctx)));
    case "image": return h("p", { class: "picture" }, "[picture: " + (b.alt_text || "") + "]");
    case "alert": return h("div", { class: "note" }, textObject(b.text, ctx));
    case "input": if (ctx.field) return input(b, ctx);
  }
  return unknown(b);
}

// blocks draws a list of blocks. ctx holds names (by id), act(element, block,
// value, node) for what tells the app at once, heading (a tag name); in a form
// also typed(block, element), changed(block, element, value), field(handle).
export function blocks(list, ctx) {
  return (list || []).map((b) => block(b, ctx));
}
