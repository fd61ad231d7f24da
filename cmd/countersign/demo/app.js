// The page: the connection to the demo, who is played, and which part of it a
// narrow screen shows.

import { $, h } from "./dom.js";
import { page, shows } from "./page.js";
import { renderEPM, startEndpoint } from "./endpoint.js";
import { slack } from "./slack.js";
import { discord } from "./discord.js";

const chats = { slack, discord };

function listen() {
  const events = new EventSource("/api/events");
  events.onopen = () => { $("link").textContent = "Live"; $("link").className = "link-state live"; };
  events.onerror = () => { $("link").textContent = "Connection lost, trying again…"; $("link").className = "link-state lost"; };
  events.onmessage = (event) => {
    const said = JSON.parse(event.data);
    page.skew = said.now - Date.now();
    const before = page.state;
    page.state = said.state;
    render(before);
  };
}

function render(before) {
  if (!page.state.people.some((p) => p.id === page.me)) page.me = page.state.people[0].id;
  if (!before) {
    renderPeople();
    startEndpoint(show);
  }
  for (const chat of Object.values(chats)) chat.render(before);
  renderEPM();
  renderSteps();
}

function renderPeople() {
  $("people").append(...page.state.people.map((p) => h("label", {},
    h("input", { type: "radio", name: "person", value: p.id, checked: p.id === page.me, onchange: () => become(p.id) }),
    h("span", {}, h("b", {}, p.name), h("small", {}, p.role)))));
}

function become(id) {
  page.me = id;
  sessionStorage.setItem("person", id);
  for (const chat of Object.values(chats)) {
    chat.tell("");
    chat.render(page.state);
  }
}

function renderSteps() {
  const { requests } = page.state.epm;
  const step = !requests.length ? 0 : requests.some((r) => r.status === "Pending") ? 1 : 2;
  [...$("steps").children].forEach((li, i) => {
    li.classList.toggle("done", i < step);
    if (i === step) li.setAttribute("aria-current", "step"); else li.removeAttribute("aria-current");
  });
}

// ---- narrow screens show one part at a time

function show(part) {
  document.body.dataset.pane = part;
  for (const b of document.querySelectorAll("[data-go]")) b.setAttribute("aria-pressed", String(b.dataset.go === part));
  window.scrollTo(0, 0);
  chats[part]?.show();
}
for (const b of document.querySelectorAll("[data-go]")) b.addEventListener("click", () => show(b.dataset.go));
for (const skip of document.querySelectorAll(".skip")) skip.addEventListener("click", () => { if (!shows(skip.hash.slice(1))) show(skip.hash.slice(1)); });

listen();
