// Counts over time as stacked bars; a click on a bar asks for its interval.
import { TIERS, clock, day, h, number, placeholder, short, styled } from "./base.js"

const LEFT = 44, RIGHT = 8, TOP = 8, BOTTOM = 22

function ceiling(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, most)))
  const steps = power < 10 ? [1, 2, 3, 4, 5, 6, 8, 10] : [1, 1.2, 1.4, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10] // whose halves are round too
  for (const step of steps) if (step * power >= most) return step * power
  return 10 * power
}

// Midnights of the viewer's zone: where the clocks change a day has 23 hours, or 25.
function days(start, end, step) {
  const result = [], t = new Date(start)
  for (t.setHours(24, 0, 0, 0); t < end; t.setDate(t.getDate() + step)) result.push(t.getTime())
  return result
}

function ticks(start, end, width) {
  const wanted = Math.max(2, Math.floor(width / 110))
  const steps = [1, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 43200].map((m) => m * 60000)
  const step = steps.find((s) => (end - start) / s <= wanted + 0.5) || steps.at(-1) // a chart begins with a whole bar, before its range
  if (step >= 86400000) return { at: days(start, end, step / 86400000), label: (t) => day(t).slice(5) }
  const offset = new Date(start).getTimezoneOffset() * 60000
  const result = []
  for (let t = Math.ceil((start - offset) / step) * step + offset; t < end; t += step) result.push(t)
  return { at: result, label: (t) => (end - start > 86400000 ? `${day(t).slice(5)} ${clock(t).slice(0, 5)}` : clock(t).slice(0, 5)) }
}

function draw(model, root) {
  const { start, end, interval, series } = model.chart
  const total = (series || []).reduce((sum, s) => sum + s.values.reduce((a, b) => a + b, 0), 0)
  const failed = model.status.kind === "failed" // beside an answer that failed no figure of the one before
  const header = h("div", { class: "chart-head" }, h("h2", { class: "heading" }, model.heading), h("span", { class: "legend" }, (failed ? [] : series || []).map((s) =>
    h("span", { class: `tier tier-${s.key}` }, h("span", { class: "sign", "aria-hidden": "true" }, (TIERS[s.key] || { sign: "\u25a0" }).sign), " ", s.label, " ", h("span", { class: "quiet" }, short(s.values.reduce((a, b) => a + b, 0)))))))
  if (failed || !series || (!total && model.status.kind !== "ready")) {
    root.replaceChildren(header, placeholder(model.status.kind === "ready" ? { kind: "loading" } : model.status, model.empty))
    return
  }
  if (!total) {
    root.replaceChildren(header, placeholder({ kind: "empty" }, model.empty))
    return
  }
  const width = Math.max(260, root.clientWidth || 600), height = model.tall
  const buckets = series[0].values.length
  const sums = Array.from({ length: buckets }, (_, i) => series.reduce((sum, s) => sum + s.values[i], 0))
  const top = ceiling(Math.max(...sums))
  const x = (i) => LEFT + ((width - LEFT - RIGHT) * i) / buckets
  const y = (v) => TOP + (height - TOP - BOTTOM) * (1 - v / top)
  const gap = (width - LEFT - RIGHT) / buckets > 4 ? 1 : 0
  const bars = []
  for (let i = 0; i < buckets; i++) {
    let base = 0
    for (const s of series) {
      const value = s.values[i]
      if (!value) continue
      const tall = Math.max(y(base) - y(base + value), s.key === "none" ? 0 : 1.5)
      bars.push(h("rect", { class: `fill-${s.key}`, x: x(i), y: y(base) - tall, width: Math.max(0.7, x(1) - x(0) - gap), height: tall }))
      base += value
    }
    const from = start + i * interval
    bars.push(h("rect", { class: "hit", x: x(i), y: TOP, width: x(1) - x(0), height: height - TOP - BOTTOM, onclick: () => model.send_msg({ action: "interval", start: from, end: from + interval }) },
      h("title", {}, `${day(from)} ${clock(from).slice(0, 5)}\n` + series.map((s) => `${s.label}: ${number(s.values[i])}`).join("\n"))))
  }
  const marks = ticks(start, end, width)
  const xAt = (t) => LEFT + ((width - LEFT - RIGHT) * (t - start)) / (end - start)
  const axis = [0.5, 1].filter((f) => Number.isInteger(top * f)).map((f) => [h("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(top * f), y2: y(top * f) }), h("text", { class: "tick", x: LEFT - 6, y: y(top * f) + 4, "text-anchor": "end" }, short(top * f))]).flat()
  axis.push(h("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(0), y2: y(0) }))
  for (const t of marks.at) axis.push(h("text", { class: "tick", x: Math.min(xAt(t), width - 30), y: height - 5, "text-anchor": "middle" }, marks.label(t)))
  const summary = `${model.heading}: ` + series.map((s) => `${s.label} ${number(s.values.reduce((a, b) => a + b, 0))}`).join(", ")
  root.replaceChildren(header, h("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": summary }, axis, bars))
}

export async function render({ model, el }) {
  await styled(el)
  const root = h("section", { class: "component chart" })
  el.append(root)
  const again = () => draw(model, root)
  for (const property of ["chart", "status"]) model.on(property, again)
  new ResizeObserver(() => requestAnimationFrame(again)).observe(el)
  again()
}
