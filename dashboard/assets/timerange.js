// The time range of a page: lengths up to now, or two times typed in the viewer's zone.
import { day, clock, h, styled, zone } from "./base.js"

const RANGES = [["15m", "15 min"], ["1h", "1 hour"], ["24h", "24 hours"], ["7d", "7 days"], ["30d", "30 days"], ["custom", "From \u2026 to"]]
const LENGTH = { "15m": 900e3, "1h": 3600e3, "24h": 86400e3, "7d": 604800e3, "30d": 2592e6 }
const local = (ms) => `${day(ms)}T${clock(ms).slice(0, 5)}`

function draw(model, root) {
  const choose = (value) => {
    if (value === "custom" && !model.start) {
      model.end = Math.ceil(Date.now() / 60000) * 60000
      model.start = model.end - (LENGTH[model.range] || 3600e3)
    }
    model.range = value
  }
  const choices = RANGES.map(([value, text]) => h("button", { type: "button", "aria-pressed": model.range === value ? "true" : "false", onclick: () => choose(value) }, text))
  root.replaceChildren(h("div", { class: "ranges", role: "group", "aria-label": "Time range" }, choices))
  if (model.range !== "custom") return
  const input = (property, label) => {
    const field = h("input", { type: "datetime-local", value: local(model[property]), "aria-label": label, onchange: () => {
      const ms = new Date(field.value).getTime()
      if (Number.isFinite(ms)) model[property] = ms
    } })
    return field
  }
  root.append(h("div", { class: "between" }, input("start", "From"), " to ", input("end", "To"), h("span", { class: "quiet" }, " " + zone())))
}

export async function render({ model, el }) {
  await styled(el)
  const root = h("div", { class: "component timerange" })
  el.append(root)
  for (const property of ["range", "start", "end"]) model.on(property, () => draw(model, root))
  draw(model, root)
}
