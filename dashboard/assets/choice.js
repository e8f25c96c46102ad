// One of a few values, as buttons side by side.
import { h, styled } from "./base.js"

export async function render({ model, el }) {
  await styled(el)
  const root = h("div", { class: "component ranges", role: "group", "aria-label": model.heading })
  el.append(root)
  const draw = () => root.replaceChildren(...model.options.map(([value, text]) => h("button", { type: "button", "aria-pressed": model.value === value ? "true" : "false", onclick: () => { model.value = value } }, text)))
  for (const property of ["value", "options"]) model.on(property, draw)
  draw()
}
