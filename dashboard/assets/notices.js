// What a person is told of what they did: at the lower edge, above everything else, for some seconds.
import { h, styled, visible } from "./base.js"

const SHOWN_MS = 5000, TROUBLE_MS = 12000 // what went wrong is read more slowly
const SIGNS = { success: "\u2713", error: "\u00d7", warning: "\u25b2", info: "\u25cb" }

export async function render({ model, el }) {
  await styled(el)
  const place = h("div", { class: "component notices", popover: "manual", role: "status", "aria-live": "polite" })
  el.append(place)
  let last = 0
  const draw = () => {
    for (const { number, text, kind } of model.told) {
      if (number <= last) continue
      last = number
      const told = h("div", { class: `told told-${kind}`, role: kind === "error" ? "alert" : null },
        h("span", { "aria-hidden": "true" }, SIGNS[kind] || SIGNS.info), h("bdi", {}, visible(text)))
      place.append(told)
      setTimeout(() => {
        told.remove()
        if (!place.childElementCount) place.hidePopover()
      }, kind === "error" || kind === "warning" ? TROUBLE_MS : SHOWN_MS)
    }
    if (!place.childElementCount) return
    if (place.matches(":popover-open")) place.hidePopover() // the last to be shown is above a dialog that was opened since
    place.showPopover()
  }
  model.on("told", draw)
  draw()
}
