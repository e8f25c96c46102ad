// What changed since the last visit, until the person has read it.
import { h, lookup, number, styled, tierSign, time, visible } from "./base.js"
import { caughtUp } from "./visit.js"

function draw(model, root) {
  if (!model.since || model.status.kind !== "ready") return root.replaceChildren()
  const done = h("button", { type: "button", class: "small", onclick: () => { caughtUp(); model.since = 0 } }, "Got it")
  const items = model.items.map((item) => h("li", {}, h("a", { href: item.href }, visible(item.text))))
  const names = model.names.map((row) => h("li", {}, tierSign(row.tier), " ", lookup(row.key), h("span", { class: "quiet" }, ` ${number(row.count)} queries by ${number(row.clients)} ${row.clients === 1 ? "client" : "clients"}`)))
  root.replaceChildren(h("div", { class: "news-head" }, h("h2", { class: "heading" }, "Since your last visit ", h("span", { class: "quiet" }, time(model.since))), done),
    items.length || names.length ? "" : h("p", { class: "quiet" }, "Nothing was changed by others, and no malicious name is new."),
    items.length ? h("ul", { class: "news-items" }, items) : "",
    names.length ? h("p", { class: "quiet" }, "Malicious names that nobody asked for in the week before:") : "", names.length ? h("ul", { class: "news-names" }, names) : "")
}

export async function render({ model, el }) {
  await styled(el)
  const root = h("section", { class: "component news", "aria-label": "Since your last visit" })
  el.append(root)
  for (const property of ["since", "items", "names", "status"]) model.on(property, () => draw(model, root))
  draw(model, root)
}
