import { h, blocks, mrkdwn } from "./blocks.js";

const $ = (id) => document.getElementById(id);
const narrow = window.matchMedia("(max-width: 899px)");

let state = null;
let skew = 0; // the server's clock minus ours, ms
let me = sessionStorage.getItem("person") || "";
let form = null; // the open form: {id, hash, fields, opener, busy}
let opener = null; // what was clicked last: {ts, key}
const openJSON = new Set(); // by ts
const dismissed = new Set(); // ephemeral messages, by ts

// ---- talking to the demo

async function post(path, body) {
  try {
    const res = await fetch("/api/" + path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    return await res.json();
  } catch {
    return { error: "The demo does not answer. Is it still running?" };
  }
}

function listen() {
  const events = new EventSource("/api/events");
  events.onopen = () => { $("link").textContent = "Live"; $("link").className = "link-state live"; };
  events.onerror = () => { $("link").textContent = "Connection lost, trying again…"; $("link").className = "link-state lost"; };
  events.onmessage = (event) => {
    const said = JSON.parse(event.data);
    skew = said.now - Date.now();
    const before = state;
    state = said.state;
    render(before);
  };
}

// ---- small helpers

const nameOf = (id) => state.names[id] || id;
const clock = (ms) => new Date(ms).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
const when = (ts) => Number(ts) * 1000;
const plural = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;

function spell(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const hours = Math.floor(s / 3600), minutes = Math.floor((s % 3600) / 60);
  if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
  if (minutes) return s % 60 && minutes < 5 ? `${minutes} min ${s % 60} s` : `${minutes} min`;
  return `${s} s`;
}

const duration = (text) => text === "Once" ? "once" : /^\d+$/.test(text) ? "for " + spell(Number(text)) : text;

function announce(text) {
  if (!text) return;
  $("live").append(h("p", {}, text));
  while ($("live").children.length > 4) $("live").firstChild.remove();
}

function complain(text) {
  const inForm = $("dialog").open && document.getElementById("dialog-alert");
  const box = inForm || $("alert");
  box.textContent = text || "";
  box.hidden = !text;
}

// swap replaces a node and keeps the focus where it was, or near it.
function swap(old, fresh) {
  const active = document.activeElement;
  const had = old.contains(active);
  const key = had && active.dataset ? active.dataset.key : null;
  old.replaceWith(fresh);
  if (!had) return;
  const again = key && [...fresh.querySelectorAll("[data-key]")].find((n) => n.dataset.key === key);
  (again || fresh).focus({ preventScroll: true });
}

// keyed makes the children of box show items, and leaves alone what is unchanged.
function keyed(box, items, build) {
  const had = new Map([...box.children].map((n) => [n.dataset.id, n]));
  let at = null;
  for (const item of items) {
    let node = had.get(item.id);
    had.delete(item.id);
    if (!node || node.shown !== item.shows) {
      const fresh = build(item);
      fresh.dataset.id = item.id;
      fresh.shown = item.shows;
      if (node) swap(node, fresh);
      node = fresh;
    }
    const next = at ? at.nextSibling : box.firstChild;
    if (next !== node) box.insertBefore(node, next);
    at = node;
  }
  for (const gone of had.values()) {
    const focused = gone.contains(document.activeElement);
    gone.remove();
    if (focused) box.parentElement.focus({ preventScroll: true });
  }
}

// ---- everything

function render(before) {
  if (!state.people.some((p) => p.id === me)) me = state.people[0].id;
  if (!before) once();
  renderMessages(before);
  renderEPM();
  renderSteps();
  renderForm();
}

function once() {
  $("who").append(...state.askers.map((a) => h("option", { value: a.user }, `${a.user} on ${a.computer}`)));
  $("program").append(...state.programs.map((p) => h("option", { value: p.id }, p.name)));
  $("people").append(...state.people.map((p) => h("label", {},
    h("input", { type: "radio", name: "person", value: p.id, checked: p.id === me, onchange: () => become(p.id) }),
    h("span", {}, h("b", {}, p.name), h("small", {}, p.role)))));
  chooseProgram();
}

function become(id) {
  me = id;
  sessionStorage.setItem("person", id);
  complain("");
  renderMessages(state);
  renderForm();
}

function renderSteps() {
  const requests = state.epm.requests;
  const step = !requests.length ? 0 : requests.some((r) => r.status === "Pending") ? 1 : 2;
  [...$("steps").children].forEach((li, i) => {
    li.classList.toggle("done", i < step);
    if (i === step) li.setAttribute("aria-current", "step"); else li.removeAttribute("aria-current");
  });
}

// ---- the channel

const isReply = (m) => m.thread_ts && m.thread_ts !== m.ts;

function renderMessages(before) {
  const { messages, ephemerals } = state.slack;
  const replies = new Map();
  for (const m of messages) {
    if (!isReply(m)) continue;
    if (!replies.has(m.thread_ts)) replies.set(m.thread_ts, []);
    replies.get(m.thread_ts).push(m);
  }
  const items = messages.filter((m) => !isReply(m)).map((m) => ({ m, id: m.ts, replies: replies.get(m.ts) || [] }));
  for (const e of ephemerals[me] || []) {
    if (!dismissed.has(e.ts)) items.push({ m: e, id: e.ts, mine: true, replies: [] });
  }
  items.sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const it of items) it.shows = JSON.stringify([it.m, it.replies, openJSON.has(it.id)]);

  const scroll = $("scroll");
  const near = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 160; // always so where the page itself scrolls
  const known = new Set([...$("messages").children].map((n) => n.dataset.id));
  keyed($("messages"), items, message);
  $("no-messages").hidden = items.length > 0;
  const fresh = items.filter((it) => !known.has(it.id));
  if (near || !before || fresh.length) scroll.scrollTop = scroll.scrollHeight;
  if (before && fresh.length) toNewest();

  if (!before) return;
  const was = new Map(before.slack.messages.map((m) => [m.ts, m]));
  for (const it of items) {
    const old = was.get(it.id);
    if (it.mine ? !known.has(it.id) && before !== state : !old || old.text !== it.m.text) announce(mrkdwn(it.m.text, { names: state.names }).map((n) => n.textContent ?? n).join(""));
  }
  if (fresh.length && narrow.matches && document.body.dataset.pane !== "channel") {
    const n = Number($("badge").textContent || 0) + fresh.length;
    $("badge").textContent = String(n);
    $("badge").hidden = false;
    $("badge").setAttribute("aria-label", plural(n, "new message"));
  }
}

// toNewest shows the last message where the page itself scrolls.
function toNewest() {
  if (narrow.matches && document.body.dataset.pane === "channel") $("messages").lastElementChild?.scrollIntoView();
}

function message(item) {
  const { m, replies, mine } = item;
  const bot = mine || m.user === state.bot;
  const name = mine ? nameOf(state.bot) : nameOf(m.user);
  const shown = openJSON.has(m.ts);
  const json = h("pre", { class: "json", id: "json-" + m.ts, tabindex: "0", "aria-label": "JSON of this message", hidden: !shown },
    h("code", {}, JSON.stringify({ text: m.text, blocks: m.blocks, metadata: m.metadata }, null, 2)));
  const ctx = { names: state.names, heading: "h3", act: (e, b, v, node) => click(m, e, node) };
  return h("article", { class: mine ? "msg mine" : "msg", tabindex: "-1", "aria-label": `${mine ? "Only visible to you: m" : "M"}essage from ${name} at ${clock(when(m.ts))}` },
    h("div", { class: "avatar", "aria-hidden": "true" }, bot ? h("img", { src: "/icon.svg", alt: "", width: "36", height: "36" }) : name[0]),
    h("div", { class: "body" },
      h("div", { class: "who" },
        h("b", {}, name), bot ? h("span", { class: "app" }, "app") : null,
        h("time", { datetime: new Date(when(m.ts)).toISOString() }, clock(when(m.ts))),
        m.edits ? h("span", {}, `edited ${m.edits === 1 ? "once" : m.edits === 2 ? "twice" : m.edits + " times"}`) : null,
        h("button", {
          type: "button", class: "quiet", "data-key": "json", "aria-expanded": String(shown), "aria-controls": "json-" + m.ts,
          onclick: () => { if (openJSON.has(m.ts)) openJSON.delete(m.ts); else openJSON.add(m.ts); renderMessages(state); },
        }, shown ? "Hide the JSON" : "Show the JSON"),
        mine ? h("button", { type: "button", class: "quiet", "data-key": "dismiss", onclick: () => { dismissed.add(m.ts); renderMessages(state); } }, "Dismiss") : null),
      mine ? h("p", { class: "private" }, "Only visible to you") : null,
      mine ? null : track(m.blocks),
      h("div", { class: m.blocks ? "card" : "card bare" }, m.blocks ? blocks(m.blocks, ctx) : h("p", {}, mrkdwn(m.text, ctx, false))),
      json,
      replies.length ? h("div", { class: "thread", role: "group", "aria-label": plural(replies.length, "reply").replace("replys", "replies") }, replies.map(reply)) : null));
}

function reply(m) {
  const ctx = { names: state.names, heading: "h4", act: (e, b, v, node) => click(m, e, node) };
  return h("div", { class: "reply" },
    h("time", { datetime: new Date(when(m.ts)).toISOString() }, clock(when(m.ts))),
    h("div", {}, m.blocks ? blocks(m.blocks, ctx) : mrkdwn(m.text, ctx, false)));
}

// track reads how far a request is from the last line of its card, which is
// the bot's own. A card that says something else has no track.
function track(list) {
  const last = list && list[list.length - 1];
  if (!last || last.type !== "context") return null;
  const says = last.elements.map((e) => e.text || "").join("");
  const steps = ["Pending", "Sending", "Submitted", "Confirmed"];
  let at, mood = "";
  if (/^Pending/.test(says)) at = 0;
  else if (/^EPM refused/.test(says)) { at = 0; mood = "bad"; steps[0] = "Refused by EPM, pending again"; }
  else if (/^Confirmed by EPM: /.test(says)) { at = 3; mood = "good"; }
  else if (/^(Decided in EPM|EPM recorded)/.test(says)) { at = 3; mood = "good"; steps[3] = "Decided in EPM"; }
  else if (/^(Approved|Denied) by .*submitted to EPM/.test(says)) at = 2;
  else if (/^(Approved|Denied) by .*EPM does not answer/.test(says)) { at = 1; mood = "bad"; steps[1] = "Sending again"; }
  else if (/^(Approved|Denied) by .*sending to EPM$/.test(says)) at = 1;
  else return null;
  return h("div", { class: "track " + mood, role: "img", "aria-label": `Progress: ${steps[at]}, step ${at + 1} of 4` },
    steps.map((s, i) => h("span", { class: i < at ? "done" : i === at ? "now" : "" }, s)));
}

async function click(m, e, node) {
  if (node.dataset.busy) return;
  node.dataset.busy = "1";
  complain("");
  opener = { ts: m.ts, key: node.dataset.key };
  const said = await post("slack/click", { person: me, channel: state.channel, ts: m.ts, action_id: e.action_id });
  delete node.dataset.busy;
  if (said.error) complain(said.error);
}

$("command").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = $("command-text");
  const text = field.value.trim() || "help";
  complain("");
  const said = await post("slack/command", { person: me, text });
  if (said.error) complain(said.error); else field.value = "";
});

// ---- forms

function renderForm() {
  const dialog = $("dialog");
  const open = state.slack.views[me];
  if (!open) {
    if (!form) return;
    const decided = form.sent;
    form = null;
    dialog.close();
    dialog.replaceChildren();
    const card = opener && [...$("messages").children].find((n) => n.dataset.id === opener.ts);
    const button = card && [...card.querySelectorAll("[data-key]")].find((n) => n.dataset.key === opener.key);
    (button || card || $("scroll")).focus({ preventScroll: true });
    if (decided && narrow.matches) card?.scrollIntoView(); // what happens next is told at its top
    return;
  }
  if (form && form.id === open.id && form.hash === open.hash) return;

  // As in Slack, what was typed stays where block and action are the same.
  const same = form && form.id === open.id;
  const kept = new Map();
  if (same) for (const f of form.fields) kept.set([f.id, f.action, f.kind].join("\n"), f.read());
  const active = document.activeElement;
  const key = same && dialog.contains(active) ? active.dataset.key : null;
  const range = key && active.setSelectionRange && active.type !== "radio" && active.type !== "checkbox" ? [active.selectionStart, active.selectionEnd] : null;

  const view = open.view;
  const fields = [];
  form = { id: open.id, hash: open.hash, fields, busy: Boolean(same && form.busy), sent: Boolean(same && form.sent) };
  const ctx = {
    names: state.names, heading: "h3",
    act: (e, b, value) => act(e, value),
    typed: (b, e) => kept.get([b.block_id, e.action_id, e.type].join("\n")) ?? open.typed[b.block_id] ?? "",
    changed: (b, e, value) => (b.dispatch_action ? act(e, value) : post("slack/type", typed({ values: { [b.block_id]: value } }))),
    field: (f) => fields.push(f),
  };
  const content = blocks(view.blocks, ctx);
  const text = (t, other) => (t && t.text) || other;
  const old = dialog.querySelector(".view");
  if (same && old && Boolean(old.querySelector("[data-key=submit]")) === Boolean(view.submit)) {
    // The frame stays, so that a click on its buttons cannot fall between two of them.
    old.querySelector(".view-body").replaceChildren(...content);
    old.querySelector("h2").textContent = text(view.title, "Form");
    old.querySelector("[data-key=close]").textContent = text(view.close, "Cancel");
    if (view.submit) old.querySelector("[data-key=submit]").textContent = text(view.submit, "Submit");
  } else {
    dialog.replaceChildren(h("form", { class: "view", novalidate: true, onsubmit: submit },
      h("header", {},
        h("h2", { id: "dialog-title", tabindex: "-1" }, text(view.title, "Form")),
        h("button", { type: "button", class: "quiet close", "aria-label": "Close this form", "data-key": "x", onclick: closeForm }, "✕")),
      h("p", { class: "alert", id: "dialog-alert", role: "alert", hidden: true }),
      h("div", { class: "view-body", tabindex: view.submit ? null : "0" }, content),
      h("footer", {}, h("button", { type: "button", "data-key": "close", onclick: closeForm }, text(view.close, "Cancel")),
        view.submit ? h("button", { type: "submit", class: "main", "data-key": "submit" }, text(view.submit, "Submit")) : null)));
  }
  setBusy(form.busy);
  for (const f of fields) f.say((open.errors || {})[f.id]);
  if (!dialog.open) dialog.showModal();
  if (same) {
    const again = key && [...dialog.querySelectorAll("[data-key]")].find((n) => n.dataset.key === key);
    if (again) { if (again !== document.activeElement) again.focus(); } else $("dialog-title").focus();
    if (again && range) again.setSelectionRange(...range);
    return;
  }
  const first = fields.find((f) => f.first) || fields[0];
  if (first) first.focus(); else $("dialog-title").focus();
}

// typed is what the open form holds, for the demo.
const typed = (more) => ({ person: me, view: form.id, values: Object.fromEntries(form.fields.map((f) => [f.id, f.read()])), ...more });

// about does something with the open form, and says what went wrong unless
// another form, or none, is open by then.
async function about(path, body) {
  const id = form.id;
  complain("");
  const said = await post(path, body);
  if (!form || form.id !== id) return null;
  if (said.error) complain(said.error);
  return said;
}

const act = (e, value) => about("slack/act", typed({ action_id: e.action_id, value }));
const closeForm = () => about("slack/close", { person: me, view: form.id });

async function submit(event) {
  event.preventDefault();
  if (form.busy) return;
  form.sent = true;
  setBusy(true);
  const said = await about("slack/submit", typed());
  if (!said) return;
  setBusy(false); // of the form as it is now: it may have been drawn anew
  if (said.error) return;
  const wrong = said.result.errors || {};
  for (const f of form.fields) f.say(wrong[f.id]);
  form.fields.find((f) => wrong[f.id])?.focus();
}

function setBusy(busy) {
  form.busy = busy;
  $("dialog").querySelector("[data-key=submit]")?.classList.toggle("busy", busy);
}

$("dialog").addEventListener("cancel", (event) => { event.preventDefault(); if (form) closeForm(); });
$("dialog").addEventListener("close", () => { if (form && !$("dialog").open) closeForm(); });

// ---- the endpoint

let reasonIsTheirs = false;
const adminReason = "Setting up a docking station; its firmware tool needs an administrator.";
const kind = () => document.querySelector("input[name=kind]:checked").value;

function chooseProgram() {
  const app = kind() === "application";
  $("field-program").hidden = !app;
  $("field-minutes").hidden = app;
  const program = state.programs.find((p) => p.id === $("program").value);
  $("program-about").textContent = program.about;
  if (!reasonIsTheirs) $("reason").value = app ? program.reason : adminReason;
}

$("program").addEventListener("change", chooseProgram);
for (const radio of document.querySelectorAll("input[name=kind]")) radio.addEventListener("change", chooseProgram);
$("reason").addEventListener("input", () => { reasonIsTheirs = true; });

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = $("request");
  if (button.dataset.busy) return;
  button.dataset.busy = "1";
  const said = await post("epm/request", {
    kind: kind(), user: $("who").value, program: $("program").value, minutes: Number($("minutes").value), reason: $("reason").value,
  });
  delete button.dataset.busy;
  const out = $("ask-said");
  out.classList.toggle("bad", Boolean(said.error));
  if (said.error) { out.textContent = said.error; return; }
  reasonIsTheirs = false;
  chooseProgram();
  out.replaceChildren(`EPM has it as ${said.result.number} and has told the bot.`,
    h("button", { type: "button", class: "quiet only-narrow", onclick: () => show("channel") }, "Show the channel"));
});

// ---- EPM

const modes = {
  normal: "Takes a decision in about a second and confirms it a little later.",
  slow: "Every answer takes four seconds.",
  failing: "Every call is answered with 503. Decisions wait in the bot and go out when EPM is back.",
  refusing: "Every decision is refused. The bot says why and opens the request again.",
};

for (const radio of document.querySelectorAll("input[name=mode]")) {
  radio.addEventListener("change", () => post("epm/mode", { mode: radio.value }));
}

function renderEPM() {
  const { mode, requests, traffic } = state.epm;
  for (const radio of document.querySelectorAll("input[name=mode]")) radio.checked = radio.value === mode;
  $("mode-about").textContent = modes[mode] || "";
  keyed($("requests"), requests.map((r) => ({ r, id: r.id, shows: JSON.stringify(r) })), request);
  $("no-requests").hidden = requests.length > 0;
  keyed($("traffic"), traffic.map((t, i) => ({ t, id: `${t.at} ${t.out} ${t.what} ${t.status} ${i}`, shows: "" })), call);
  tick();
}

function request({ r }) {
  const what = r.kind === "admin" ? `Admin access ${duration(r.asked)}` : r.program;
  const decide = (verdict, length) => async (event) => {
    const said = await post("epm/decide", { id: r.id, verdict, duration: length });
    if (said.error) event.target.closest("li").append(h("p", { class: "error" }, said.error));
  };
  let outcome = null;
  if (r.status !== "Pending") {
    const how = r.status === "Approved" && r.duration ? " " + duration(r.duration) : "";
    outcome = h("p", {}, `${r.status}${how} by ${r.decided_by || "somebody"}${r.in_console ? ", in the EPM console" : ""}`,
      r.until ? h("span", { class: "until", "data-until": String(r.until) }) : null);
  }
  return h("li", { tabindex: "-1" },
    h("div", { class: "line" }, h("span", { class: "number" }, r.number), h("span", { class: "chip " + r.status.toLowerCase() }, r.status)),
    h("p", { class: "what", dir: "auto" }, h("bdi", {}, visible(what))),
    h("p", { class: "for" }, r.host ? `${r.user} on ${r.host}` : r.user),
    outcome,
    r.message ? h("p", { class: "quote", dir: "auto" }, `“${visible(r.message)}”`) : null,
    r.status === "Pending" ? h("details", {},
      h("summary", { "data-key": "console" }, "Decide in the EPM console"),
      h("div", { class: "actions" },
        h("button", { type: "button", "data-key": "c1", onclick: decide("Approved", "3600") }, "Approve for 1 h"),
        h("button", { type: "button", "data-key": "c2", onclick: decide("Approved", "Once") }, "Approve once"),
        h("button", { type: "button", "data-key": "c3", onclick: decide("Denied", "") }, "Deny"))) : null);
}

// What turns text around is shown, here as on the card.
const visible = (s) => s.replace(/[\u202a-\u202e\u2066-\u2069\u200e\u200f]/g, (c) => `[U+${c.codePointAt(0).toString(16).toUpperCase()}]`);

function call({ t }) {
  return h("li", {}, h("time", {}, new Date(t.at).toLocaleTimeString()), h("span", {}, t.out ? "EPM → bot" : "bot → EPM"),
    h("code", {}, t.what), h("span", { class: t.status >= 200 && t.status < 300 ? "fine" : "bad" }, t.status ? String(t.status) : "no answer"));
}

function tick() {
  for (const node of document.querySelectorAll("[data-until]")) {
    const left = (Number(node.dataset.until) - Date.now() - skew) / 1000;
    node.textContent = left > 0 ? `${spell(left)} left` : "ended";
  }
}
setInterval(tick, 1000);

// ---- narrow screens show one part at a time

function show(pane) {
  document.body.dataset.pane = pane;
  for (const b of document.querySelectorAll("[data-go]")) b.setAttribute("aria-pressed", String(b.dataset.go === pane));
  if (pane === "channel") {
    $("badge").hidden = true;
    $("badge").textContent = "";
    $("scroll").scrollTop = $("scroll").scrollHeight;
    if (narrow.matches) $("channel").focus({ preventScroll: true });
  }
  window.scrollTo(0, 0);
  toNewest();
}
for (const b of document.querySelectorAll("[data-go]")) b.addEventListener("click", () => show(b.dataset.go));
document.querySelector(".skip").addEventListener("click", () => show("channel"));

listen();
