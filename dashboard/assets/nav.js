// The left navigation.
import { h, styled, visible } from "./base.js"

function links(model) {
  const here = model.url.split("?")[0]
  return model.items.map((item) => h("a", { href: item.path, class: item.path === here ? "here" : null, "aria-current": item.path === here ? "page" : null },
    h("span", { class: "icon", "aria-hidden": "true" }, item.icon), h("span", {}, item.label), item.badge ? h("span", { class: "badge" }, visible(item.badge)) : null))
}

export async function render({ model, el }) {
  await styled(el)
  const root = h("nav", { class: "component nav", "aria-label": "Pages" })
  el.append(root)
  const draw = () => root.replaceChildren(...links(model))
  for (const property of ["url", "items"]) model.on(property, draw)
  draw()
}
