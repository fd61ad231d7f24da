// The pane that imitates Discord.

import { $, h, textOf } from "./dom.js";
import { page, clock, plural } from "./page.js";
import { components, markdown, texts } from "./components.js";
import { avatar, chatPane, jsonOf, time, track } from "./chat.js";

const thinking = 1 << 7; // the flag of an answer that is still to come

const openJSON = new Set(); // by id
const openThreads = new Set(); // by id

const here = () => page.state.discord;
const nameOf = (id) => here().names[id] || id;
const identity = () => page.state.people.find((p) => p.id === page.me).discord;

const pane = chatPane({ name: "discord", items, message, form });

export const discord = { ...pane, render(before) { renderCommand(); pane.render(before); } };

const again = () => pane.render(page.state);

// Identifiers are numbers that are too long for JavaScript.
const byID = (a, b) => a.id.length - b.id.length || (a.id < b.id ? -1 : 1);

function items() {
  const { messages, ephemerals } = here();
  const all = messages.map((m) => ({ m, id: m.id }));
  for (const e of ephemerals[page.me] || []) all.push({ m: e, id: e.id, mine: true });
  all.sort(byID);
  for (const it of all) {
    it.shows = JSON.stringify([it.m, openJSON.has(it.id), openThreads.has(it.id)]);
    const first = texts(it.m.components)[0] ?? it.m.content ?? "";
    it.say = textOf(markdown(first, { names: here().names }, true));
  }
  return all;
}

function message({ m, mine }) {
  const bot = mine || m.author === here().bot;
  const name = nameOf(mine ? here().bot : m.author);
  const json = jsonOf(m.id, openJSON, { flags: m.flags, content: m.content || undefined, components: m.components, allowed_mentions: m.mentions }, again);
  return h("article", {
    class: mine ? "msg mine" : (m.pings || []).includes(identity()) ? "msg pinged" : "msg", tabindex: "-1",
    "aria-label": `${mine ? "Only visible to you: m" : "M"}essage from ${name} at ${clock(m.at)}`,
  },
  avatar(name, bot),
  h("div", { class: "body" },
    h("div", { class: "who" }, h("b", {}, name), bot ? h("span", { class: "app" }, "APP") : null, time(m.at), json.button),
    m.flags & thinking ? h("p", { class: "edited" }, `${name} is thinking…`) : content(m),
    m.edits ? h("span", { class: "edited", title: `edited ${plural(m.edits, "time")}` }, "(edited)") : null,
    json.text,
    mine ? h("p", { class: "private" }, "Only you can see this · ",
      h("button", { type: "button", class: "quiet", "data-key": "dismiss", onclick: (event) => pane.press(m.id, event.currentTarget, "dismiss", { message: m.id }) }, "Dismiss message")) : progress(m.components),
    m.thread ? thread(m) : null));
}

function content(m) {
  const ctx = {
    names: here().names,
    act: (id, node) => pane.press(m.id, node, "click", { channel: m.channel, message: m.id, custom_id: id }),
    choose: (id, value, node) => pane.press(m.id, node, "click", { channel: m.channel, message: m.id, custom_id: id, value }),
  };
  return [
    m.content ? h("div", { class: "md" }, markdown(m.content, ctx, true)) : null,
    m.components ? h("div", { class: "components" }, components(m.components, ctx)) : null,
  ];
}

function progress(list) {
  const last = texts(list).pop() || "";
  return last.startsWith("-# ") ? track(last.slice(3)) : null;
}

// thread is the box under the message that a thread was started from: its
// name, how long it is and its newest message. Opened, it has all of them.
function thread(m) {
  const { name, messages } = m.thread;
  const open = openThreads.has(m.id);
  return h("div", { class: "thread", role: "group", "aria-label": `Thread ${name}` },
    h("div", { class: "thread-top" }, h("b", { dir: "auto" }, name),
      h("button", {
        type: "button", class: "quiet", "data-key": "thread", "aria-expanded": String(open),
        onclick: () => { if (!openThreads.delete(m.id)) openThreads.add(m.id); again(); },
      }, open ? "Show the newest" : plural(messages.length, "message") + " ›")),
    (open ? messages : messages.slice(-1)).map((r) => h("div", { class: (r.pings || []).includes(identity()) ? "reply pinged" : "reply" }, time(r.at), h("div", {}, content(r)))));
}

function form() {
  const open = here().modals[page.me];
  if (!open) return null;
  return {
    id: open.id, hash: "", typed: open.typed, title: open.modal.title, close: "Cancel", submit: "Submit",
    note: `This form will be submitted to ${nameOf(here().bot)}. Do not share passwords or other sensitive information.`,
    draw: (ctx) => components(open.modal.components, { ...ctx, act: undefined, choose: undefined, names: here().names }),
  };
}

// ---- the slash command, as the bot has registered it

let offered = "";

function renderCommand() {
  const now = JSON.stringify(here().commands);
  if (now === offered) return;
  offered = now;
  const before = $("discord-word").value;
  $("discord-word").replaceChildren(...subcommands().map((s) => h("option", { value: s.name }, s.name)));
  if (subcommands().some((s) => s.name === before)) $("discord-word").value = before;
  renderOptions();
}

const root = () => here().commands[0] || { name: "epm", options: [] };
const subcommands = () => (root().options || []).filter((o) => o.type === 1);
const chosen = () => subcommands().find((s) => s.name === $("discord-word").value);

function renderOptions() {
  $("discord-options").replaceChildren(...(chosen()?.options || []).map((o) => {
    const props = { name: o.name, "aria-label": `${o.name}: ${o.description}`, title: o.description, "aria-required": o.required ? "true" : null };
    if (o.choices) return h("select", props, h("option", { value: "" }, o.name + (o.required ? "" : " (optional)")), o.choices.map((c) => h("option", { value: c.value }, c.name)));
    return h("input", { ...props, type: "text", autocomplete: "off", spellcheck: "false", placeholder: o.name });
  }));
}

$("discord-word").addEventListener("change", renderOptions);

$("discord-command").addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = [...$("discord-options").children];
  const missing = fields.find((f) => f.getAttribute("aria-required") && !f.value.trim());
  if (missing) { // as in Discord, which does not send it
    pane.tell(`Fill in “${missing.name}”: ${missing.title}`);
    missing.focus();
    return;
  }
  const options = Object.fromEntries(fields.map((f) => [f.name, f.value.trim()]).filter(([, v]) => v));
  if (await pane.act("command", { command: `${root().name} ${$("discord-word").value}`, options })) for (const f of fields) f.value = "";
});
