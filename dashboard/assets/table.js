// A table of records: real <table>, cells by kind, rows that can be chosen with the mouse or the keyboard.
import { TIERS, ago, copy, defanged, exactly, h, link, number, percent, placeholder, score, styled, tierSign, time, visible } from "./base.js"

const NUMERIC = new Set(["count", "score", "percent", "bar", "sure"])

const CELLS = {
  text: (value) => h("bdi", {}, visible(value)),
  name: (value) => h("span", { class: "name" }, link("/lookup", { q: value }, value, { title: visible(value) }), defang(value)),
  client: (value) => (value ? link("/clients", { client: value }, value) : "\u2013"),
  time: (value) => h("time", { datetime: value ? new Date(value).toISOString() : null, title: exactly(value) }, time(value)),
  ago: (value) => h("time", { title: exactly(value) }, ago(value)),
  count: (value) => number(value),
  score: (value) => score(value),
  percent: (value) => percent(value),
  tier: (value) => tierSign(value),
  action: (value, row) => h("span", { class: row.enforced ? "enforced" : "would" }, visible(value), row.enforced ? "" : value && value !== "passthru" ? " (not enforced)" : ""),
  list: (value) => h("span", { class: `list list-${value}` }, visible(value)),
  sure: (value, row) => h("span", { class: row.uncertain ? "uncertain" : "" }, row.uncertain ? h("span", { title: "uncertain: near the threshold", "aria-label": "uncertain" }, "\u26a0 ") : "", score(value)),
  bar: (value, row, column) => h("span", { class: "barcell" }, h("span", { class: `fill fill-${column.tier || row.tier || "none"}`, style: `width:${Math.max(1, (100 * value) / (column.max || 1))}%` }), h("span", { class: "n" }, number(value))),
  state: (value) => h("span", { class: `state state-${String(value).replace(/[^a-z]/g, "")}` }, visible(value)),
  names: (value) => h("span", {}, (value || []).map((name, i) => [i ? ", " : "", link("/lookup", { q: name }, name)]).flat()),
}

function defang(value) {
  const button = h("button", { class: "copy", type: "button", title: "Copy defanged", "aria-label": `Copy ${defanged(value)} defanged` }, "copy")
  button.addEventListener("click", (event) => { event.stopPropagation(); copy(defanged(value), button) })
  return button
}

function cell(row, column) {
  const make = CELLS[column.kind] || CELLS.text
  const value = row[column.key]
  return h("td", { class: `k-${column.kind || "text"}${NUMERIC.has(column.kind) ? " numeric" : ""}`, "data-label": column.label }, make(value, row, column))
}

function buttons(model, row, index, actions) {
  return h("td", { class: "actions" }, actions.filter((a) => !a.when || row[a.when]).map((action) => h("button", {
    type: "button", class: `small ${action.style || ""}`, "aria-label": `${action.label} ${visible(row.qname || row.suffix || row.key || row.id || "")}`,
    onclick: (event) => { event.stopPropagation(); model.send_msg({ action: action.id, index, row }) },
  }, action.label)))
}

function draw(model, el) {
  const columns = model.columns
  const focused = el.getRootNode().activeElement?.closest?.("tr")?.dataset.index
  if (model.status.kind !== "ready" && !(model.status.kind === "loading" && model.rows.length)) {
    el.replaceChildren(title(model), placeholder(model.status, model.empty))
    return
  }
  if (!model.rows.length) {
    el.replaceChildren(title(model), placeholder({ kind: "empty" }, model.empty))
    return
  }
  for (const column of columns) if (column.kind === "bar") column.max = Math.max(...model.rows.map((row) => row[column.key] || 0))
  const actions = model.actions
  const head = h("tr", {}, columns.map((c) => h("th", { scope: "col", class: NUMERIC.has(c.kind) ? "numeric" : null }, c.label)),
    actions.length ? h("th", { scope: "col" }, h("span", { class: "sr" }, "Actions")) : null)
  const rows = model.rows.map((row, index) => h("tr", {
    "data-index": index, class: index === model.selected ? "selected" : row.style || null,
    tabindex: model.selectable ? "0" : null, "aria-current": index === model.selected ? "true" : null,
    onclick: model.selectable ? () => choose(model, index) : null,
    onkeydown: model.selectable ? (event) => { if (event.key === "Enter" && event.target.tagName === "TR") choose(model, index) } : null,
  }, columns.map((column) => cell(row, column)), actions.length ? buttons(model, row, index, actions) : null))
  const table = h("table", { class: "verdict-table" }, h("caption", { class: "sr" }, model.caption || "records"), h("thead", {}, head), h("tbody", {}, rows))
  el.replaceChildren(title(model), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": model.caption || "records" }, table))
  if (focused !== undefined) el.querySelector(`tr[data-index="${focused}"]`)?.focus()
}

const title = (model) => (model.heading ? h("h2", { class: "heading" }, model.heading, model.note ? h("span", { class: "quiet" }, " " + visible(model.note)) : "") : "")

function choose(model, index) {
  model.selected = index
  model.send_msg({ action: "select", index, row: model.rows[index] })
}

export async function render({ model, el }) {
  await styled(el)
  const root = h("section", { class: "component" })
  el.append(root)
  let waiting = false
  const later = () => {
    if (waiting) return
    waiting = true
    queueMicrotask(() => { waiting = false; draw(model, root) })
  }
  for (const property of ["rows", "status", "columns", "selected", "heading", "note", "actions", "empty"]) model.on(property, later)
  draw(model, root)
}

export { TIERS }
