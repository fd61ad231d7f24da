// Nodes out of text. Nothing here makes HTML out of a string, and the page's
// policy would not allow it.

export const $ = (id) => document.getElementById(id);

export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

// Control characters that would change how the text around them reads are
// isolated: each piece of text keeps its direction to itself.
export const isolate = (node) => { node.dir = "auto"; return node; };

export function lines(s) {
  const out = [];
  s.split("\n").forEach((line, i) => { if (i) out.push(h("br")); if (line) out.push(line); });
  return out;
}

export function safeLink(url, label) {
  let ok = false;
  try { ok = ["http:", "https:", "mailto:"].includes(new URL(url).protocol); } catch { /* not an address */ }
  if (!ok) return h("span", {}, label);
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer", title: url }, label);
}

export const mention = (label, loud) => h("span", { class: loud ? "mention loud" : "mention" }, label);

export function unknown(what) {
  return h("details", { class: "unknown" },
    h("summary", {}, `This page does not draw “${what && what.type}”: here is its JSON`),
    h("pre", {}, h("code", {}, JSON.stringify(what, null, 2))));
}

export const textOf = (nodes) => nodes.map((n) => n.textContent ?? n).join("");

// byKey finds what had the same place in an earlier drawing.
export const byKey = (box, key) => (box && key ? [...box.querySelectorAll("[data-key]")].find((n) => n.dataset.key === key) : undefined);

// swap replaces a node and keeps the focus where it was, or near it.
function swap(old, fresh) {
  const active = document.activeElement;
  const had = old.contains(active);
  const key = had && active.dataset ? active.dataset.key : null;
  old.replaceWith(fresh);
  if (had) (byKey(fresh, key) || fresh).focus({ preventScroll: true });
}

// keyed makes the children of box show items, and leaves alone what is unchanged.
export function keyed(box, items, build) {
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
