// The time range of a page: lengths up to now, or two times typed in the viewer's zone.
import { day, clock, h, styled, zone } from "./base.js"

const RANGES = [["15m", "15 min"], ["1h", "1 hour"], ["24h", "24 hours"], ["7d", "7 days"], ["30d", "30 days"], ["custom", "From \u2026 to"]]
const LENGTH = { "15m": 900e3, "1h": 3600e3, "24h": 86400e3, "7d": 604800e3, "30d": 2592e6 }
const local = (ms) => `${day(ms)}T${clock(ms).slice(0, 5)}`

// A time being typed goes through many others: those before 1970 are none yet.
function field(model, property, label, draw) {
  return h("input", { type: "datetime-local", "aria-label": label, onblur: draw, onchange: (event) => {
    const ms = new Date(event.target.value).getTime()
    if (ms > 0) model[property] = ms
  } })
}

export async function render({ model, el }) {
  await styled(el)
  const choose = (value) => {
    if (value === "custom" && !model.start) {
      model.end = Math.ceil(Date.now() / 60000) * 60000
      model.start = model.end - (LENGTH[model.range] || 3600e3)
    }
    model.range = value
  }
  const draw = () => {
    for (const [value, button] of buttons) button.setAttribute("aria-pressed", model.range === value)
    between.hidden = model.range !== "custom"
    for (const [property, input] of Object.entries(inputs)) if (el.getRootNode().activeElement !== input) input.value = local(model[property])
  }
  const buttons = new Map(RANGES.map(([value, text]) => [value, h("button", { type: "button", onclick: () => choose(value) }, text)]))
  const inputs = { start: field(model, "start", "From", draw), end: field(model, "end", "To", draw) }
  const between = h("div", { class: "between" }, inputs.start, " to ", inputs.end, h("span", { class: "quiet" }, " " + zone()))
  el.append(h("div", { class: "component timerange" }, h("div", { class: "ranges", role: "group", "aria-label": "Time range" }, ...buttons.values()), between))
  for (const property of ["range", "start", "end"]) model.on(property, draw)
  draw()
}
