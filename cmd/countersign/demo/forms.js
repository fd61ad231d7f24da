// The form that a chat has open for the person who is played, as a dialog.

import { h, byKey } from "./dom.js";
import { page, post, complain } from "./page.js";

// formDialog keeps the dialog as the chat says. own is
//   name     the chat, the first part of the paths
//   form()   the open form, or nothing: {id, hash, title, close, submit, note,
//            typed, errors, draw(ctx)}, draw being told what it needs by ctx
//   closed(sent)  is told that the form has gone, and whether it was sent; it
//            takes care of the focus
// What changes under the same id and another hash is drawn anew.
export function formDialog(dialog, own) {
  let form = null; // what is shown: {id, hash, fields, busy, sent}

  const title = () => dialog.querySelector("h2");
  const alert = () => dialog.querySelector(".alert");
  const key = (name) => dialog.querySelector(`[data-key=${name}]`);

  // values is what the form holds, for the demo.
  const values = (more) => ({ person: page.me, form: form.id, values: Object.fromEntries(form.fields.map((f) => [f.id, f.read()])), ...more });

  // about does something with the open form, and says what went wrong unless
  // another form, or none, is open by then.
  async function about(what, body) {
    const id = form.id;
    complain(alert(), "");
    const said = await post(`${own.name}/${what}`, body);
    if (!form || form.id !== id) return null;
    if (said.error) complain(alert(), said.error);
    return said;
  }

  const act = (e, value) => about("act", values({ action_id: e.action_id, value }));
  const close = () => about("close", { person: page.me, form: form.id });

  async function submit(event) {
    event.preventDefault();
    if (form.busy) return;
    form.sent = true;
    setBusy(true);
    const said = await about("submit", values());
    if (!said) return;
    setBusy(false); // of the form as it is now: it may have been drawn anew
    if (said.error) return;
    const wrong = said.result.errors || {};
    for (const f of form.fields) f.say(wrong[f.id]);
    form.fields.find((f) => wrong[f.id])?.focus();
  }

  function setBusy(busy) {
    form.busy = busy;
    key("submit")?.classList.toggle("busy", busy);
  }

  dialog.addEventListener("cancel", (event) => { event.preventDefault(); if (form) close(); });
  dialog.addEventListener("close", () => { if (form && !dialog.open) close(); });

  function gone() {
    const { sent } = form;
    form = null;
    dialog.close();
    dialog.replaceChildren();
    own.closed(sent);
  }

  return function render() {
    const open = own.form();
    if (!open) { if (form) gone(); return; }
    if (form && form.id === open.id && form.hash === open.hash) return;

    // What was typed stays where field, action and type are the same.
    const same = form && form.id === open.id;
    const place = (id, action, type) => [id, action, type].join("\n");
    const kept = new Map(same ? form.fields.map((f) => [place(f.id, f.action, f.type), f.read()]) : []);
    const active = document.activeElement;
    const had = same && dialog.contains(active) ? active.dataset.key : null;
    const range = had && active.setSelectionRange && active.type !== "radio" && active.type !== "checkbox" ? [active.selectionStart, active.selectionEnd] : null;

    const fields = [];
    form = { id: open.id, hash: open.hash, fields, busy: Boolean(same && form.busy), sent: Boolean(same && form.sent) };
    const content = open.draw({
      act,
      value: (id, action, type) => kept.get(place(id, action, type)) ?? open.typed[id] ?? "",
      changed: (id, value) => post(`${own.name}/type`, values({ values: { [id]: value } })),
      field: (f) => fields.push(f),
    });
    if (same && Boolean(key("submit")) === Boolean(open.submit)) {
      // The frame stays, so that a click on its buttons cannot fall between two of them.
      dialog.querySelector(".view-body").replaceChildren(...content);
      title().textContent = open.title;
      key("close").textContent = open.close;
      if (open.submit) key("submit").textContent = open.submit;
    } else {
      dialog.replaceChildren(h("form", { class: "view", novalidate: true, onsubmit: submit },
        h("header", {},
          h("h2", { id: dialog.id + "-title", tabindex: "-1" }, open.title),
          h("button", { type: "button", class: "quiet close", "aria-label": "Close this form", "data-key": "x", onclick: close }, "✕")),
        h("p", { class: "alert", role: "alert", hidden: true }),
        h("div", { class: "view-body", tabindex: open.submit ? null : "0" }, content),
        open.note ? h("p", { class: "view-note" }, open.note) : null,
        h("footer", {}, h("button", { type: "button", "data-key": "close", onclick: close }, open.close),
          open.submit ? h("button", { type: "submit", class: "main", "data-key": "submit" }, open.submit) : null)));
    }
    setBusy(form.busy);
    for (const f of fields) f.say((open.errors || {})[f.id]);
    if (!dialog.open) dialog.showModal();
    if (same) {
      const again = byKey(dialog, had);
      if (again) { if (again !== document.activeElement) again.focus(); } else title().focus();
      if (again && range) again.setSelectionRange(...range);
      return;
    }
    const first = fields.find((f) => f.first) || fields[0];
    if (first) first.focus(); else title().focus();
  };
}
