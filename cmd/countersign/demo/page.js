// What every part of the page shares: the state of the demo, who is played,
// and how to talk to the demo.

import { $, h } from "./dom.js";

export const page = {
  state: null,
  skew: 0, // the server's clock minus ours, ms
  me: sessionStorage.getItem("person") || "", // of state.people
};

export const narrow = window.matchMedia("(max-width: 1099px)");

// shows reports whether a part of the page can be seen: narrow screens show
// one at a time.
export const shows = (part) => !narrow.matches || document.body.dataset.pane === part;

export async function post(path, body) {
  try {
    const res = await fetch("/api/" + path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    return await res.json();
  } catch {
    return { error: "The demo does not answer. Is it still running?" };
  }
}

export function complain(box, text) {
  box.textContent = text || "";
  box.hidden = !text;
}

// announce says text, from a chat, to a screen reader. Both chats tell the
// same news at the same time: what one has just said the other does not repeat.
const lately = new Map(); // which chat said a text, and when, ms
export function announce(text, chat) {
  if (!text) return;
  const now = Date.now();
  for (const [old, { at }] of lately) if (now - at > 4000) lately.delete(old);
  if ((lately.get(text)?.chat ?? chat) !== chat) return;
  lately.set(text, { chat, at: now });
  $("live").append(h("p", {}, text));
  while ($("live").children.length > 4) $("live").firstChild.remove();
}

export const clock = (ms) => new Date(ms).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
export const plural = (n, one, many = one + "s") => `${n} ${n === 1 ? one : many}`;

export function spell(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const hours = Math.floor(s / 3600), minutes = Math.floor((s % 3600) / 60);
  if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
  if (minutes) return s % 60 && minutes < 5 ? `${minutes} min ${s % 60} s` : `${minutes} min`;
  return `${s} s`;
}
