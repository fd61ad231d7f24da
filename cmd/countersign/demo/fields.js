// The inputs of a form, whichever chat it belongs to.

import { h } from "./dom.js";

let ids = 0;

function choices(type, f, about) {
  const now = new Set(String(f.value).split(",").filter(Boolean));
  const options = f.options.map((o, i) => {
    const id = `in${++ids}`;
    const box = h("input", { type, id, name: "in " + f.id, value: o.value, checked: now.has(o.value), "data-key": `in ${f.id} ${i}` });
    return h("div", { class: "choice" }, box, h("label", { for: id }, o.label, o.about ? h("small", {}, o.about) : null));
  });
  const set = h("fieldset", { class: "input", "aria-describedby": about.ids }, h("legend", {}, f.label), about.above, options, about.below);
  const read = () => [...set.querySelectorAll("input:checked")].map((x) => x.value).join(",");
  set.addEventListener("change", () => f.changed(read()));
  return { node: set, read, focus: () => (set.querySelector("input:checked") || set.querySelector("input"))?.focus(), target: set };
}

function oneField(f, about) {
  const id = `in${++ids}`;
  const props = { id, "data-key": "in " + f.id, "aria-describedby": about.ids, "aria-required": f.required ? "true" : null };
  const option = (o) => h("option", { value: o.value }, o.label);
  let field;
  if (f.kind === "paragraph") field = h("textarea", { ...props, rows: "3" });
  else if (f.kind === "select") {
    field = h("select", props, h("option", { value: "" }, f.placeholder || "Choose…"),
      f.groups ? f.groups.map((g) => h("optgroup", { label: g.label }, g.options.map(option))) : f.options.map(option));
  } else field = h("input", { ...props, type: "text", autocomplete: "off", inputmode: f.numeric ? "numeric" : null });
  if (f.max) field.maxLength = f.max;
  if (f.placeholder && f.kind !== "select") field.placeholder = f.placeholder;
  field.value = f.value;
  field.addEventListener("change", () => f.changed(field.value));
  const node = h("div", { class: "input" }, h("label", { for: id }, f.label), about.above, field, about.below);
  return { node, read: () => field.value, focus: () => field.focus(), target: field };
}

// menu makes a select that tells at once what was chosen. m is
//   key       what tells it from others around it
//   closed    what it says while nothing is chosen
//   options   [{value, label}]
//   chosen    is told the value, and the node
// It goes on showing a choice until the message is drawn anew, as in the chats.
export function menu(m) {
  const node = h("select", { class: "menu", "data-key": m.key, "aria-label": m.closed },
    h("option", { value: "" }, m.closed), m.options.map((o) => h("option", { value: o.value }, o.label)));
  node.addEventListener("change", () => { if (node.value) m.chosen(node.value, node); });
  return node;
}

// field makes an input. f is
//   id        what the form calls it
//   kind      line, paragraph, select, radio or checkbox
//   label     nodes
//   hint      nodes, or nothing; above the input if hintAbove
//   required, value, max (characters), placeholder, numeric
//   options   [{value, label, about}], or groups [{label, options}]
//   changed   is told what it holds after a change
// and the answer has node, read(), focus() and say(problem).
export function field(f) {
  const base = `field${++ids}`;
  const hint = f.hint ? h("p", { class: "hint", id: base + "-hint" }, f.hint) : null;
  const error = h("p", { class: "error", id: base + "-error", hidden: true });
  const about = {
    above: f.hintAbove ? hint : null, below: [f.hintAbove ? null : hint, error],
    ids: [hint && hint.id, error.id].filter(Boolean).join(" "),
  };
  const made = f.kind === "radio" || f.kind === "checkbox" ? choices(f.kind, f, about) : oneField(f, about);
  return {
    ...made, id: f.id,
    say(problem) {
      error.textContent = problem ? "⚠ " + problem : "";
      error.hidden = !problem;
      made.node.classList.toggle("wrong", Boolean(problem));
      if (problem) made.target.setAttribute("aria-invalid", "true"); else made.target.removeAttribute("aria-invalid");
    },
  };
}
