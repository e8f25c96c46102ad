// The top of every page: one field that takes a name or an address, and who is logged in. `/` goes to the field.
import { h, styled, visible } from "./base.js"

export async function render({ model, el }) {
  await styled(el)
  const field = h("input", { type: "search", name: "q", placeholder: "Name or client address", "aria-label": "Look up a name or a client address", autocomplete: "off", spellcheck: "false", maxlength: "1100" })
  const form = h("form", { role: "search", action: "/lookup", method: "get", onsubmit: (event) => {
    event.preventDefault()
    const text = field.value.trim()
    if (text) model.send_msg({ action: "search", text })
  } }, field, h("kbd", { "aria-hidden": "true" }, "/"))
  const jump = (event) => {
    const typing = event.composedPath().some((e) => /^(INPUT|TEXTAREA|SELECT)$/.test(e.tagName))
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); field.focus(); field.select() }
  }
  document.addEventListener("keydown", jump)
  model.on("remove", () => document.removeEventListener("keydown", jump))
  el.append(h("div", { class: "component topbar" }, h("a", { class: "brand", href: "/" }, h("span", { "aria-hidden": "true" }, "\u25a0"), " Verdict"), form,
    h("span", { class: "who" }, h("bdi", {}, visible(model.user)), h("span", { class: "role quiet" }, " " + model.role)), h("a", { class: "out", href: "/logout", target: "_self" }, "Log out")))
}
