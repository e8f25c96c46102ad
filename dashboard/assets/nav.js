// The left navigation: the pages, and below them the saved views.
import { h, styled, visible } from "./base.js"

function links(model) {
  const here = model.url.split("?")[0]
  return model.items.map((item) => h("a", { href: item.path, class: item.path === here ? "here" : null, "aria-current": item.path === here ? "page" : null },
    h("span", { class: "icon", "aria-hidden": "true" }, item.icon), h("span", {}, item.label)))
}

function views(model, naming, draw) {
  const rows = model.views.map((view) => h("li", { class: view.address === model.url ? "here" : null },
    h("a", { href: view.address, title: view.mine ? null : `saved by ${visible(view.author)}`, "aria-current": view.address === model.url ? "page" : null }, h("bdi", {}, visible(view.name)), view.mine ? "" : h("span", { class: "quiet" }, " ", visible(view.author))),
    view.mine ? h("button", { type: "button", class: "forget", title: "Remove this view", "aria-label": `Remove view ${visible(view.name)}`, onclick: () => model.send_msg({ action: "forget", name: view.name }) }, "\u00d7") : null))
  const field = h("input", { name: "view", "aria-label": "Name of the view", placeholder: "name, then Enter", maxlength: "60", autocomplete: "off" })
  const close = () => { naming.on = false; draw() }
  const form = h("form", { onsubmit: (event) => {
    event.preventDefault()
    if (field.value.trim()) model.send_msg({ action: "save", name: field.value, url: model.url })
    close()
  }, onkeydown: (event) => { if (event.key === "Escape") close() } }, field)
  const save = h("button", { type: "button", class: "save", onclick: () => { naming.on = true; draw() } }, "+ Save this view")
  return h("div", { class: "views" }, h("h2", {}, "Saved views"), h("ul", {}, rows), naming.on ? form : save)
}

export async function render({ model, el }) {
  await styled(el)
  const root = h("nav", { class: "component nav", "aria-label": "Pages" })
  el.append(root)
  const naming = { on: false }
  const reached = () => [...root.querySelectorAll("a, button")]
  const draw = () => {
    const at = reached().indexOf(root.getRootNode().activeElement)
    root.replaceChildren(...links(model), views(model, naming, draw))
    if (naming.on) root.querySelector("input").focus()
    else reached()[at]?.focus({ preventScroll: true }) // of whoever goes from page to page by keyboard
  }
  for (const property of ["url", "items", "views"]) model.on(property, draw)
  draw()
}
