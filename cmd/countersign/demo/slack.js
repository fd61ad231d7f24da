// The pane that imitates Slack.

import { $, h, keyed, textOf } from "./dom.js";
import { page, clock, plural } from "./page.js";
import { blocks, mrkdwn } from "./blocks.js";
import { avatar, chatPane, jsonOf, time, track } from "./chat.js";

const openJSON = new Set(); // by ts
const dismissed = new Set(); // ephemeral messages, by ts

const here = () => page.state.slack;
const nameOf = (id) => here().names[id] || id;
const when = (ts) => Number(ts) * 1000;
const text = (t, other) => (t && t.text) || other;

const pane = chatPane({ name: "slack", items, message, form });

export const slack = { ...pane, render(before) { pane.render(before); renderHome(); } };

const again = () => slack.render(page.state);

const isReply = (m) => m.thread_ts && m.thread_ts !== m.ts;

function items() {
  const { messages, ephemerals } = here();
  const replies = new Map();
  for (const m of messages) {
    if (!isReply(m)) continue;
    if (!replies.has(m.thread_ts)) replies.set(m.thread_ts, []);
    replies.get(m.thread_ts).push(m);
  }
  const all = messages.filter((m) => !isReply(m)).map((m) => ({ m, id: m.ts, replies: replies.get(m.ts) || [] }));
  for (const e of ephemerals[page.me] || []) {
    if (!dismissed.has(e.ts)) all.push({ m: e, id: e.ts, mine: true, replies: [] });
  }
  all.sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const it of all) {
    it.shows = JSON.stringify([it.m, it.replies, openJSON.has(it.id)]);
    it.say = textOf(mrkdwn(it.m.text, { names: here().names }));
  }
  return all;
}

function message({ m, replies, mine }) {
  const bot = mine || m.user === here().bot;
  const name = mine ? nameOf(here().bot) : nameOf(m.user);
  const json = jsonOf(m.ts, openJSON, { text: m.text, blocks: m.blocks, metadata: m.metadata }, again);
  return h("article", { class: mine ? "msg mine" : "msg", tabindex: "-1", "aria-label": `${mine ? "Only visible to you: m" : "M"}essage from ${name} at ${clock(when(m.ts))}` },
    avatar(name, bot),
    h("div", { class: "body" },
      h("div", { class: "who" },
        h("b", {}, name), bot ? h("span", { class: "app" }, "app") : null, time(when(m.ts)),
        m.edits ? h("span", {}, `edited ${m.edits === 1 ? "once" : m.edits === 2 ? "twice" : m.edits + " times"}`) : null,
        json.button,
        mine ? h("button", { type: "button", class: "quiet", "data-key": "dismiss", onclick: () => { dismissed.add(m.ts); again(); } }, "Dismiss") : null),
      mine ? h("p", { class: "private" }, "Only visible to you") : null,
      h("div", { class: m.blocks ? "card" : "card bare" }, content(m, "h3")),
      json.text,
      mine ? null : progress(m.blocks),
      replies.length ? h("div", { class: "thread", role: "group", "aria-label": plural(replies.length, "reply", "replies") }, replies.map(reply)) : null));
}

const reply = (m) => h("div", { class: "reply" }, time(when(m.ts)), h("div", {}, content(m, "h4")));

function content(m, heading) {
  const ctx = {
    names: here().names, heading,
    act: (e, value, node) => slack.press(m.ts, node, "click", { channel: here().channel, ts: m.ts, action_id: e.action_id }),
    choose: (e, value, node) => slack.press(m.ts, node, "click", { channel: here().channel, ts: m.ts, action_id: e.action_id, value }),
  };
  return m.blocks ? blocks(m.blocks, ctx) : h("p", {}, mrkdwn(m.text, ctx, false));
}

function progress(list) {
  const last = list && list[list.length - 1];
  return last && last.type === "context" ? track(last.elements.map((e) => e.text || "").join("")) : null;
}

function form() {
  const open = here().views[page.me];
  if (!open) return null;
  const { view } = open;
  return {
    id: open.id, hash: open.hash, typed: open.typed, errors: open.errors,
    title: text(view.title, "Form"), close: text(view.close, "Cancel"), submit: view.submit && text(view.submit, "Submit"),
    draw: (ctx) => blocks(view.blocks, { ...ctx, names: here().names, heading: "h3" }),
  };
}

// ---- the app's home tab

let openedBy = ""; // whose home tab is on the screen; nobody's if the channel is

// toHome shows the home tab or the channel.
function toHome(home) {
  openedBy = "";
  $("slack-home-tab").setAttribute("aria-pressed", String(home));
  $("slack-channel-tab").setAttribute("aria-pressed", String(!home));
  $("slack-home").hidden = !home;
  $("slack-scroll").hidden = $("slack-command").hidden = home;
  again();
}

function renderHome() {
  if ($("slack-home").hidden) return;
  if (openedBy !== page.me) { // it is made when it is opened
    openedBy = page.me;
    pane.act("home", {});
  }
  const published = here().homes[page.me];
  keyed($("slack-home"), [{ id: "home " + page.me, shows: JSON.stringify(published), published }], home);
}

function home({ id, published }) {
  const ctx = {
    names: here().names, heading: "h3",
    act: (e, value, node) => slack.press(id, node, "home", { action_id: e.action_id, value }),
  };
  return h("div", { class: "card bare" }, published ? blocks(published, ctx) : h("p", { class: "empty" }, "The app has published nothing here yet."));
}

$("slack-home-tab").addEventListener("click", () => toHome(true));
$("slack-channel-tab").addEventListener("click", () => toHome(false));

$("slack-command").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = $("slack-command-text");
  if (await slack.act("command", { text: field.value.trim() || "help" })) field.value = "";
});
