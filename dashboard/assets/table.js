// A table of records: real <table>, cells by kind, rows that can be chosen with the mouse or the keyboard.
import { h, placeholder, styled, tick, typing, visible } from "./base.js"
import { CELLS, NUMERIC } from "./cells.js"

function cell(model, row, column, index) {
  const make = CELLS[column.kind] || CELLS.text
  const value = row[column.key]
  const made = make(value, row, column)
  if (row.alike && column.kind === "name") {
    const open = row.names.length === 1
    made.append(h("button", { type: "button", class: "alike", "aria-expanded": open ? "true" : "false", title: open ? "Show those alike as one again" : "Show those alike one by one",
      onclick: (event) => { event.stopPropagation(); model.send_msg({ action: "alike", index, row }) } }, open ? `\u25be ${row.alike} alike` : `+ ${row.alike} alike`))
  }
  const blank = (made instanceof Node ? made.textContent : made) === "" ? " blank" : ""
  return h("td", { role: "cell", class: `k-${column.kind || "text"}${NUMERIC.has(column.kind) ? " numeric" : ""}${blank}`, "data-label": column.label }, made)
}

function buttons(model, row, index, actions) {
  return h("td", { role: "cell", class: "actions" }, actions.filter((a) => !a.when || row[a.when]).map((action) => h("button", {
    type: "button", class: `small ${action.style || ""}`, "aria-label": `${action.label} ${visible(row.qname || row.suffix || row.key || row.id || "")}`,
    onclick: (event) => { event.stopPropagation(); model.send_msg({ action: action.id, index, row }) },
  }, action.label)))
}

function draw(model, el) {
  const columns = model.columns
  const focused = focusOf(model, el), shift = el.querySelector(".scroll")?.scrollLeft || 0
  el.drawn = model.rows
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
  const head = h("tr", { role: "row" }, model.multiple ? h("th", { role: "columnheader", scope: "col" }, h("input", { type: "checkbox", "aria-label": "all", checked: model.chosen.length === model.rows.length, onchange: (event) => { model.chosen = event.target.checked ? model.rows.map((_, i) => i) : [] } })) : null, columns.map((c) => h("th", { role: "columnheader", scope: "col", class: NUMERIC.has(c.kind) ? "numeric" : null }, c.label)),
    actions.length ? h("th", { role: "columnheader", scope: "col" }, h("span", { class: "sr" }, "Actions")) : null)
  const rows = model.rows.map((row, index) => h("tr", {
    role: "row", "data-index": index, class: index === model.selected ? "selected" : row.style || null,
    tabindex: model.selectable ? "0" : null, "aria-current": index === model.selected ? "true" : null,
    onclick: model.selectable ? () => choose(model, index) : null,
    onkeydown: model.selectable ? (event) => { if (event.key === "Enter" && event.target.tagName === "TR") choose(model, index) } : null,
  }, model.multiple ? h("td", { role: "cell" }, h("input", { type: "checkbox", "aria-label": `choose ${visible(row.key || row.qname || index)}`, checked: model.chosen.includes(index), onclick: (event) => { event.stopPropagation(); toggle(model, index) } })) : null,
  columns.map((column) => cell(model, row, column, index)), actions.length ? buttons(model, row, index, actions) : null))
  const table = h("table", { role: "table", class: "verdict-table" + (columns.length > 8 ? " many" : "") + (columns.some((c) => c.kind === "text") ? " prose" : "") }, h("caption", { class: "sr" }, model.caption || "records"), h("thead", { role: "rowgroup" }, head), h("tbody", { role: "rowgroup" }, rows))
  el.replaceChildren(title(model), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": model.caption || "records" }, table))
  if (model.keys.length) el.querySelector("tr.selected")?.scrollIntoView({ block: "nearest" })
  el.querySelector(".scroll").scrollLeft = shift
  if (focused) refocus(model, el, focused)
}

// Live rows come and go under whoever goes through them by keyboard: the focus stays with its row's button or link.
const REACHED = "a, button, input"
const identity = (row) => row && (row.id ?? row.key ?? row.suffix ?? row.qname)

function focusOf(model, el) {
  const active = el.getRootNode().activeElement, tr = active?.closest?.("tr[data-index]")
  const place = el.contains(active) && [".scroll", "thead input"].find((selector) => active.matches(selector))
  if (place) return { place }
  if (!tr || !el.contains(tr)) return null
  const index = Number(tr.dataset.index)
  return { index, id: identity(el.drawn?.[index]), nth: [...tr.querySelectorAll(REACHED)].indexOf(active) }
}

function refocus(model, el, { place, index, id, nth }) {
  if (place) return el.querySelector(place)?.focus({ preventScroll: true })
  const at = id === undefined ? index : model.rows.findIndex((row) => identity(row) === id)
  const tr = el.querySelector(`tr[data-index="${at < 0 ? index : at}"]`)
  if (nth > 0) tr?.querySelector(REACHED)?.focus({ preventScroll: true }) // some show only in the row with the focus
  const reached = nth < 0 ? tr : tr?.querySelectorAll(REACHED)[nth]
  reached?.focus({ preventScroll: true })
}

function toggle(model, index) {
  model.chosen = model.chosen.includes(index) ? model.chosen.filter((i) => i !== index) : [...model.chosen, index].sort((a, b) => a - b)
}

// Single keys, while no text is being typed: j and k move, x chooses, the rest is the page's.
function keys(model, event) {
  if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return
  const at = Math.max(0, Math.min(model.selected, model.rows.length - 1))
  if (!model.rows.length && !model.keys.includes(event.key)) return // what was decided last can be undone without any
  if (event.key === "j" || event.key === "ArrowDown") model.selected = Math.min(at + (model.selected < 0 ? 0 : 1), model.rows.length - 1)
  else if (event.key === "k" || event.key === "ArrowUp") model.selected = Math.max(at - 1, 0)
  else if (event.key === "x") toggle(model, at)
  else if (model.keys.includes(event.key)) event.repeat || model.send_msg({ action: "key", key: event.key, index: at, rows: (model.chosen.length ? model.chosen : [at]).map((i) => model.rows[i]).filter(Boolean) })
  else return
  event.preventDefault()
}

const title = (model) => {
  const note = model.note ? h(model.heading ? "span" : "p", { class: "quiet note" }, visible(model.note)) : ""
  const more = model.more ? h("a", { class: "more", href: model.more }, "all of them") : ""
  return model.heading ? h("h2", { class: "heading" }, model.heading, note && " ", note, more && " ", more) : note
}

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
  for (const property of ["rows", "status", "columns", "selected", "chosen", "heading", "note", "more", "actions", "empty"]) model.on(property, later)
  const timer = setInterval(() => tick(root), 1000)
  model.on("remove", () => clearInterval(timer))
  if (model.keys.length) {
    const listen = (event) => keys(model, event)
    document.addEventListener("keydown", listen)
    model.on("remove", () => document.removeEventListener("keydown", listen))
  }
  draw(model, root)
}
