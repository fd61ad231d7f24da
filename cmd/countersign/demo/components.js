// Discord's components and its Markdown as DOM. Every function builds nodes
// from text. More of the Markdown is understood than the bot uses: what it
// forgot to escape must look here as it would in Discord.

import { h, isolate, mention, safeLink, unknown } from "./dom.js";
import { field, menu } from "./fields.js";

// discord.com/developers/docs/reference#message-formatting
function moment(seconds, style) {
  const at = new Date(seconds * 1000);
  if (Number.isNaN(at.getTime())) return null;
  const say = (options) => new Intl.DateTimeFormat(undefined, options).format(at);
  const full = say({ dateStyle: "full", timeStyle: "short" });
  const text = {
    t: () => say({ timeStyle: "short" }), T: () => say({ timeStyle: "medium" }), d: () => say({ dateStyle: "short" }), D: () => say({ dateStyle: "long" }),
    f: () => say({ dateStyle: "long", timeStyle: "short" }), F: () => full, R: () => relative(at),
  }[style || "f"]();
  return h("time", { class: "moment", datetime: at.toISOString(), title: full }, text);
}

function relative(at) {
  const seconds = (at - Date.now()) / 1000;
  const units = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const [unit, size] = units.find(([, n]) => Math.abs(seconds) >= n) || units[5];
  return new Intl.RelativeTimeFormat(undefined, { numeric: "auto" }).format(Math.round(seconds / size), unit);
}

// What has a meaning at the beginning of a line only, with what it makes.
const atLineStart = [
  [/^ *>>> ([\s\S]*)/, (m, ctx) => h("blockquote", {}, markdown(m[1], { ...ctx, quoted: true }, true)), (ctx) => !ctx.quoted],
  [/^ *> [^\n]*(?:\n *> [^\n]*)*/, (m, ctx) => h("blockquote", {}, markdown(m[0].replace(/^ *> /gm, ""), { ...ctx, quoted: true }, true)), (ctx) => !ctx.quoted],
  [/^ *(#{1,3})\s+((?:\\.|[^\n])+?)#*[^\S\n]*(?=\n|$)/, (m, ctx) => h("p", { class: "big-" + m[1].length }, markdown(m[2], ctx))],
  [/^ *-# +((?:\\.|[^\n])+?)[^\S\n]*(?=\n|$)/, (m, ctx) => h("p", { class: "small" }, markdown(m[1], ctx))],
  [/^ *(?:[-*]|\d+\.) +[^\n]+(?:\n *(?:[-*]|\d+\.) +[^\n]+)*/, (m, ctx) => h(/^ *\d/.test(m[0]) ? "ol" : "ul", {},
    m[0].split("\n").map((line) => h("li", {}, markdown(line.replace(/^ *(?:[-*]|\d+\.) +/, ""), ctx))))],
];

// What has a meaning anywhere, the first that matches counts.
const anywhere = [
  [/^```(?:[a-z0-9_+\-.#]+?\n)?\n*([^\n][\s\S]*?)\n*```/i, (m) => h("pre", {}, isolate(h("code", {}, m[1])))],
  [/^(`+)([\s\S]*?[^`])\1(?!`)/, (m) => isolate(h("code", {}, m[2]))],
  [/^\\([^0-9A-Za-z\s])/, (m) => m[1]],
  [/^<@!?(\d+)>/, (m, ctx) => mention("@" + (ctx.names[m[1]] || "unknown-user"))],
  [/^<@&(\d+)>/, (m, ctx) => mention("@" + (ctx.names[m[1]] || "unknown-role"))],
  [/^<#(\d+)>/, (m, ctx) => mention("#" + (ctx.names[m[1]] || "unknown"))],
  [/^<\/([^<>:\n]+):\d+>/, (m) => mention("/" + m[1])],
  [/^<id:(\w+)>/, (m) => mention(m[1])],
  [/^<a?:(\w+):\d+>/, (m) => `:${m[1]}:`],
  [/^<t:(-?\d{1,17})(?::([tTdDfFR]))?>/, (m) => moment(Number(m[1]), m[2])],
  [/^@(everyone|here)/, (m) => mention("@" + m[1], true)],
  [/^<(https?:\/\/[^\s<>]+)>/, (m) => safeLink(m[1], m[1])],
  [/^https?:\/\/[^\s<]+[^<.,:;"'\])\s]/, (m) => safeLink(m[0], m[0])],
  [/^\[((?:\\.|[^\\[\]])+)\]\(\s*<?(https?:\/\/[^\s<>]+?)>?(?:\s+"[^"]*")?\s*\)/, (m, ctx) => safeLink(m[2], markdown(m[1], ctx))],
  [/^\*\*((?:\\[\s\S]|[^\\])+?)\*\*(?!\*)/, (m, ctx) => h("strong", {}, markdown(m[1], ctx))],
  [/^__((?:\\[\s\S]|[^\\])+?)__(?!_)/, (m, ctx) => h("u", {}, markdown(m[1], ctx))],
  [/^_((?:__|\\[\s\S]|[^\\_])+?)_(?!\w)/, (m, ctx) => h("em", {}, markdown(m[1], ctx))],
  [/^\*(?=\S)((?:\*\*|\\[\s\S]|\s+(?:\\[\s\S]|[^\s*\\]|\*\*)|[^\s*\\])+?)\*(?!\*)/, (m, ctx) => h("em", {}, markdown(m[1], ctx))],
  [/^~~([\s\S]+?)~~(?!~)/, (m, ctx) => h("s", {}, markdown(m[1], ctx))],
  [/^\|\|([\s\S]+?)\|\|/, (m, ctx) => h("span", { class: "spoiler", title: "Discord hides this until it is clicked" }, markdown(m[1], ctx))],
];

const begins = /[`\\<@h[*_~|]/; // what anything in anywhere begins with
const isBlock = (node) => node instanceof Element && ["PRE", "BLOCKQUOTE", "UL", "OL", "P"].includes(node.tagName);

// markdown makes nodes of text. Its line breaks stay in the text: style.css
// keeps them. whole says that text begins a line.
export function markdown(text, ctx, whole = false) {
  const out = [];
  let plain = "";
  const flush = () => { if (plain) out.push(plain); plain = ""; };
  const first = (rules, rest) => {
    for (const [pattern, make, allowed] of rules) {
      const m = (!allowed || allowed(ctx)) && pattern.exec(rest);
      const node = m ? make(m, ctx) : null;
      if (node !== null) return { node, length: m[0].length };
    }
    return null;
  };
  for (let i = 0; i < text.length;) {
    const starts = i ? text[i - 1] === "\n" : whole;
    const found = (starts && first(atLineStart, text.slice(i))) || (begins.test(text[i]) && first(anywhere, text.slice(i)));
    if (!found) { plain += text[i++]; continue; }
    i += found.length;
    if (typeof found.node === "string") { plain += found.node; continue; }
    if (isBlock(found.node)) { // it has its own lines
      plain = plain.replace(/\n$/, "");
      if (text[i] === "\n") i++;
    }
    flush();
    out.push(found.node);
  }
  flush();
  return out;
}

// The components, discord.com/developers/docs/components/reference.

const styles = { 1: "primary", 2: "secondary", 3: "success", 4: "destructive" };

function button(c, ctx) {
  if (c.style === 5) return safeLink(c.url, c.label || c.url);
  if (!styles[c.style] || !ctx.act) return unknown(c);
  return h("button", {
    type: "button", class: styles[c.style], disabled: c.disabled === true, "data-key": "act " + c.custom_id,
    onclick: (event) => ctx.act(c.custom_id, event.currentTarget),
  }, c.label || "");
}

function select(c, ctx) {
  if (!ctx.choose) return unknown(c);
  return menu({
    key: "act " + c.custom_id, closed: c.placeholder || "Make a selection",
    options: (c.options || []).map((o) => ({ value: o.value, label: o.label })), chosen: (value, node) => ctx.choose(c.custom_id, value, node),
  });
}

const text = (content, ctx) => h("div", { class: "md" }, markdown(content || "", ctx, true));

function container(c, ctx) {
  const box = h("div", { class: "container" }, (c.components || []).map((inner) => component(inner, ctx)));
  if (Number.isInteger(c.accent_color)) box.style.setProperty("--accent", "#" + c.accent_color.toString(16).padStart(6, "0"));
  return box;
}

// gallery shows pictures of the message itself.
function gallery(c) {
  return (c.items || []).map((item) => (/^[0-9]+$/.test(item.media?.attachment_id || "")
    ? h("img", { class: "shown", src: "/api/discord/file/" + item.media.attachment_id, alt: item.description || "" })
    : unknown(c)));
}

// input is a field of a form, with the label around it.
function input(c, ctx) {
  const e = c.component || {};
  const kind = { 3: "select", 4: e.style === 2 ? "paragraph" : "line", 21: "radio", 22: "checkbox" }[e.type];
  if (!kind || !ctx.field) return unknown(c);
  const required = e.required !== false; // Discord's own default
  const made = field({
    id: e.custom_id, kind, required, hintAbove: true,
    label: [c.label, required ? h("span", { class: "star", "aria-hidden": "true" }, " *") : null],
    hint: c.description || null,
    value: ctx.value(e.custom_id, "", e.type), max: e.max_length, placeholder: e.placeholder,
    options: (e.options || []).map((o) => ({ value: o.value, label: o.label, about: o.description || null })),
    changed: (value) => ctx.changed(e.custom_id, value),
  });
  ctx.field({ ...made, action: "", type: e.type });
  return made.node;
}

function component(c, ctx) {
  switch (c.type) {
    case 1: return h("div", { class: "actions" }, (c.components || []).map((inner) => component(inner, ctx)));
    case 2: return button(c, ctx);
    case 3: return select(c, ctx);
    case 9: return h("div", { class: "section" }, h("div", {}, (c.components || []).map((inner) => component(inner, ctx))), c.accessory ? component(c.accessory, ctx) : null);
    case 10: return text(c.content, ctx);
    case 12: return gallery(c);
    case 14: return c.divider === false ? h("div", { class: "gap" }) : h("hr");
    case 17: return container(c, ctx);
    case 18: return input(c, ctx);
  }
  return unknown(c);
}

// components draws a list of them. ctx holds names (by id), act(custom id,
// node) for buttons, choose(custom id, value, node) for menus; in a form also value(custom id, "", type),
// changed(custom id, value) and field(handle).
export const components = (list, ctx) => (list || []).map((c) => component(c, ctx));

// texts lists what a message says, in order.
export const texts = (list) => (list || []).flatMap((c) => {
  if (c.type === 10) return [c.content || ""];
  if (c.type === 12) return (c.items || []).map((item) => item.description || "");
  return texts(c.components);
});
