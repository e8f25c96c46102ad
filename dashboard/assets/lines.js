// Curves over a common x: training by epoch, reliability by predicted probability.
import { h, placeholder, styled } from "./base.js"

const LEFT = 46, RIGHT = 16, TOP = 10, BOTTOM = 34, DASHES = ["", "6 4", "2 3", "8 3 2 3"]
// A colour and a pattern of its own for each of sixteen curves: two heads of several models stand beside each other.
const colour = (i) => i % 4, dashes = (i) => DASHES[(i + Math.floor(i / 4)) % 4]
const short = (v) => (Math.abs(v) >= 100 ? v.toFixed(0) : Math.abs(v) >= 1 ? v.toFixed(1) : v.toFixed(v && Math.abs(v) < 0.1 ? 3 : 2))

function draw(model, root) {
  const series = (model.series || []).filter((s) => s.points.length)
  const head = h("div", { class: "chart-head" }, h("h2", { class: "heading" }, model.heading), h("span", { class: "legend" }, series.map((s, i) =>
    h("span", {}, h("svg", { width: 22, height: 8, "aria-hidden": "true" }, h("line", { class: `line line-${colour(i)}`, x1: 0, x2: 22, y1: 4, y2: 4, "stroke-dasharray": dashes(i) })), " ", s.label))))
  if (!series.length) return root.replaceChildren(head, placeholder(model.status.kind === "ready" ? { kind: "empty" } : model.status, model.empty))
  const width = Math.max(240, root.clientWidth || 400), height = 190
  const points = series.flatMap((s) => s.points)
  const [x0, x1] = model.unit ? [0, 1] : [Math.min(...points.map((p) => p[0])), Math.max(...points.map((p) => p[0]))]
  const [y0, y1] = model.unit ? [0, 1] : [Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))]
  const x = (v) => LEFT + ((width - LEFT - RIGHT) * (v - x0)) / (x1 - x0 || 1), y = (v) => TOP + (height - TOP - BOTTOM) * (1 - (v - y0) / (y1 - y0 || 1))
  const axis = [0, 0.5, 1].map((f) => { const v = y0 + f * (y1 - y0); return [h("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(v), y2: y(v) }), h("text", { class: "tick", x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, short(v))] }).flat()
  const middle = (x0 + x1) / 2 // of epochs, which are whole, one of them
  for (const v of [x0, model.unit ? middle : Math.round(middle), x1]) axis.push(h("text", { class: "tick", x: x(v), y: height - 18, "text-anchor": "middle" }, Number.isInteger(v) ? v : short(v)))
  axis.push(h("text", { class: "tick", x: width / 2, y: height - 4, "text-anchor": "middle" }, model.xlabel))
  if (model.unit) axis.push(h("line", { class: "grid", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }))
  const lines = series.map((s, i) => h("g", {}, h("polyline", { class: `line line-${colour(i)}`, "stroke-dasharray": dashes(i), points: s.points.map((p) => `${x(p[0])},${y(p[1])}`).join(" ") }),
    s.points.length < 40 ? s.points.map((p) => h("circle", { class: `dot dot-${colour(i)}`, cx: x(p[0]), cy: y(p[1]), r: 2.4 }, h("title", {}, `${s.label}: ${short(p[0])}, ${p[1].toPrecision(4)}`))) : ""))
  const last = series.map((s) => `${s.label} ${s.points.at(-1)[1].toPrecision(3)}`).join(", ")
  root.replaceChildren(head, h("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${model.heading}: ${last}` }, axis, lines))
}

export async function render({ model, el }) {
  await styled(el)
  const root = h("section", { class: "component chart" })
  el.append(root)
  const again = () => draw(model, root)
  for (const property of ["series", "status", "heading"]) model.on(property, again)
  new ResizeObserver(() => requestAnimationFrame(again)).observe(el)
  again()
}
