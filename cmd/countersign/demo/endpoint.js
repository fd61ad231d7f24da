// The column of the endpoint and of EPM.

import { $, h, keyed } from "./dom.js";
import { page, post, spell } from "./page.js";

let show = () => {}; // a part of the page, on narrow screens

// startEndpoint fills in what does not change.
export function startEndpoint(showPart) {
  show = showPart;
  const { askers, programs } = page.state;
  $("who").append(...askers.map((a) => h("option", { value: a.user }, `${a.user} on ${a.computer}`)));
  $("program").append(...programs.map((p) => h("option", { value: p.id }, p.name)));
  chooseProgram();
}

const duration = (text) => text === "Once" ? "once" : /^\d+$/.test(text) ? "for " + spell(Number(text)) : text;

// ---- who asks

let reasonIsTheirs = false;
const adminReason = "Setting up a docking station; its firmware tool needs an administrator.";
const kind = () => document.querySelector("input[name=kind]:checked").value;

function chooseProgram() {
  const app = kind() === "application";
  $("field-program").hidden = !app;
  $("field-minutes").hidden = app;
  const program = page.state.programs.find((p) => p.id === $("program").value);
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
    h("button", { type: "button", class: "quiet only-narrow", onclick: () => show("slack") }, "Show Slack"),
    h("button", { type: "button", class: "quiet only-narrow", onclick: () => show("discord") }, "Show Discord"));
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

export function renderEPM() {
  const { mode, requests, traffic } = page.state.epm;
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
    const left = (Number(node.dataset.until) - Date.now() - page.skew) / 1000;
    node.textContent = left > 0 ? `${spell(left)} left` : "ended";
  }
}
setInterval(tick, 1000);
