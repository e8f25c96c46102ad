// One of a few values, as buttons side by side.
import { h, styled } from "./base.js"

export async function render({ model, el }) {
  await styled(el)
  const root = h("div", { class: "component ranges", role: "group", "aria-label": model.heading })
  el.append(root)
  const buttons = new Map(model.options.map(([value, text]) => [value, h("button", { type: "button", onclick: () => { model.value = value } }, text)]))
  root.append(...buttons.values())
  const draw = () => { for (const [value, button] of buttons) button.setAttribute("aria-pressed", model.value === value) } // the focus stays
  model.on("value", draw)
  draw()
}
