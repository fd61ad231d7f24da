// A chat as a pane: its messages, its form and its command line. How messages
// and forms look is each chat's own, in slack.js and discord.js.

import { $, h, keyed, byKey } from "./dom.js";
import { page, post, complain, announce, clock, narrow, plural, shows } from "./page.js";
import { formDialog } from "./forms.js";

// chatPane fills the section whose id is own.name. own is
//   name          the chat, the first part of its paths and of its ids
//   items()       what the channel holds for the person who is played, oldest
//                 first: {id, say, shows, mine}, mine being for their eyes only
//   message(item) draws one
//   form()        the open form, see forms.js
// The answer renders all of it, and does things in the chat's name.
export function chatPane(own) {
  const part = (name) => $(`${own.name}-${name}`);
  const scroll = part("scroll"), messages = part("messages");
  let opener = null; // what was clicked last: {id, key}
  let newest = ""; // the last message when a form was opened
  let said = new Map(); // what each message said when it was drawn last

  const drawn = (id) => [...messages.children, ...(part("home")?.children || [])].find((n) => n.dataset.id === id);

  const renderForm = formDialog(part("dialog"), {
    name: own.name,
    form: own.form,
    closed(sent) {
      // What the chat has answered comes first; else back to where one was.
      const last = messages.lastElementChild;
      const answered = sent && last && last.dataset.id !== newest && last.classList.contains("mine") ? last : null;
      const card = drawn(opener?.id);
      (answered?.querySelector(".actions button") || answered || byKey(card, opener?.key) || card || scroll).focus({ preventScroll: true });
      if (sent && narrow.matches && !answered) card?.scrollIntoView({ block: "end" }); // what happens next is told at its end
    },
  });

  // toNewest shows the last message, where the page itself scrolls too.
  function toNewest() {
    scroll.scrollTop = scroll.scrollHeight;
    if (narrow.matches && shows(own.name)) messages.lastElementChild?.scrollIntoView({ block: "end" });
  }

  const near = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 160;

  // tell says what went wrong, below the messages; the newest stays in sight.
  function tell(text) {
    const was = near();
    complain(part("alert"), text);
    if (was) scroll.scrollTop = scroll.scrollHeight;
  }

  function render(before) {
    const items = own.items();
    const was = near();
    const known = new Set([...messages.children].map((n) => n.dataset.id));
    keyed(messages, items, own.message);
    part("none").hidden = items.length > 0;

    const fresh = items.filter((it) => !known.has(it.id));
    if (!before || fresh.length) toNewest(); else if (was) scroll.scrollTop = scroll.scrollHeight;
    if (before && before !== page.state) {
      for (const it of items) if (said.get(it.id) !== it.say) announce(it.say, own.name);
      if (fresh.length && !shows(own.name)) badge(Number(part("badge").textContent || 0) + fresh.length);
    }
    said = new Map(items.map((it) => [it.id, it.say]));
    renderForm();
  }

  function badge(n) {
    part("badge").textContent = n ? String(n) : "";
    part("badge").hidden = !n;
    part("badge").setAttribute("aria-label", plural(n, "new message"));
  }

  // act does something that a message or the command line offers, and says in
  // the pane why it could not be done.
  async function act(what, body) {
    tell("");
    const answer = await post(`${own.name}/${what}`, { person: page.me, ...body });
    if (answer.error) tell(answer.error);
    return !answer.error;
  }

  // press is act for a button in the message with this id.
  async function press(id, node, what, body) {
    if (node.dataset.busy) return;
    node.dataset.busy = "1";
    opener = { id, key: node.dataset.key };
    newest = messages.lastElementChild?.dataset.id || "";
    await act(what, body);
    delete node.dataset.busy;
  }

  return {
    render, act, press, tell,
    show() { badge(0); if (narrow.matches) { $(own.name).focus({ preventScroll: true }); toNewest(); } },
  };
}

// jsonOf is a message's JSON behind a button. open holds the ids of those that
// are shown.
export function jsonOf(id, open, what, again) {
  const shown = open.has(id);
  return {
    button: h("button", {
      type: "button", class: "quiet", "data-key": "json", "aria-expanded": String(shown), "aria-controls": "json-" + id,
      onclick: () => { if (!open.delete(id)) open.add(id); again(); },
    }, shown ? "Hide the JSON" : "Show the JSON"),
    text: h("pre", { class: "json", id: "json-" + id, tabindex: "0", "aria-label": "JSON of this message", hidden: !shown },
      h("code", {}, shown ? JSON.stringify(what, null, 2) : "")),
  };
}

export const time = (ms) => h("time", { datetime: new Date(ms).toISOString() }, clock(ms));

export const avatar = (name, bot) => h("div", { class: "avatar", "aria-hidden": "true" },
  bot ? h("img", { src: "/icon.svg", alt: "", width: "36", height: "36" }) : name[0]);

// track reads how far a request is from the last line of its card, which is
// the bot's own. A card that says something else has no track.
export function track(says) {
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
