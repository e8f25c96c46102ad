// A page: draws its components where they belong, hands them their values, and what a person does to the server.
import { h, styled } from "./base.js"
import * as characters from "./characters.js"
import * as choice from "./choice.js"
import * as exports_ from "./exports.js"
import * as facts from "./facts.js"
import * as input from "./input.js"
import * as keys from "./keys.js"
import * as lines from "./lines.js"
import * as nav from "./nav.js"
import * as notice from "./notice.js"
import * as notices from "./notices.js"
import * as router from "./router.js"
import * as since from "./since.js"
import * as table from "./table.js"
import * as tiles from "./tiles.js"
import * as timechart from "./timechart.js"
import * as timerange from "./timerange.js"

const MODULES = { characters, choice, exports: exports_, facts, input, keys, lines, nav, notice, notices, router, since, table, tiles, timechart, timerange }
const PROPERTIES = ["p0", "p1", "p2", "p3", "p4", "p5"]

const same = (a, b) => a === b || JSON.stringify(a) === JSON.stringify(b)

// A click is made of two: what is drawn anew in between takes it away. So nothing is until the button is let go, or for
// so long: whose release a scroll bar keeps to itself must not stop the page.
const HELD_MS = 5000
let released = Promise.resolve()
document.addEventListener("pointerdown", () => {
  const over = new AbortController()
  released = new Promise((resolve) => {
    const end = () => { over.abort(); setTimeout(resolve) } // the click comes first
    for (const name of ["pointerup", "pointercancel"]) document.addEventListener(name, end, { capture: true, signal: over.signal })
    setTimeout(end, HELD_MS)
  })
}, { capture: true })

// One component as its module sees it: its values as properties, `on` for changes, `send_msg` to its Python end.
function component(sheet, number) {
  const values = {}, listeners = {}, chosen = new Set()
  let count = 0
  const tell = (name) => { for (const listener of listeners[name] || []) listener() }
  const methods = {
    on: (name, listener) => { name === "remove" ? sheet.on("remove", listener) : (listeners[name] ||= []).push(listener) },
    send_msg: (message) => sheet.send_msg({ number, message }),
  }
  // Of a value that a person changed since the server last looked, the server's is older.
  const take = (given) => {
    const names = Object.keys(given.values).filter((name) => !same(values[name], given.values[name]) && !(given.taken < count && chosen.has(name)))
    for (const name of names) values[name] = given.values[name]
    names.forEach(tell)
  }
  const model = new Proxy(values, {
    get: (_, name) => methods[name] || values[name],
    set: (_, name, value) => {
      if (same(values[name], value)) return true
      values[name] = value
      chosen.add(name)
      sheet.send_msg({ number, set: { [name]: value }, count: ++count })
      tell(name)
      return true
    },
  })
  return { model, take }
}

export async function render({ model, el, view }) {
  // Bokeh takes what the server sent for new to the server too: the first message would carry the whole page back.
  view.model.document._new_models.clear()
  await styled(el)
  const slots = model.get_child("slots"), components = {}, begin = []
  const build = (node) => {
    if ("slot" in node) return h("div", { class: "slot", style: node.style || null }, slots[node.slot])
    const made = (components[node.number] = component(model, node.number))
    const element = h("div", { class: node.children ? node.kind : "part", style: node.style || null }, (node.children || []).map(build))
    made.model.on("visible", () => { element.hidden = !made.model.visible })
    // What was read, and is read again, is of the filters before until then. Many components never read.
    let read = false
    made.model.on("status", () => {
      read ||= made.model.status.kind === "ready"
      element.setAttribute("aria-busy", read && made.model.status.kind === "loading")
    })
    if (!node.children) begin.push(() => MODULES[node.module].render({ model: made.model, el: element, view }))
    return element
  }
  const elements = JSON.parse(model.tree).map(build)
  const take = (property) => { for (const [number, given] of Object.entries(JSON.parse(model[property]))) components[number].take(given) }
  for (const property of PROPERTIES) {
    take(property)
    model.on(property, () => released.then(() => take(property)))
  }
  el.append(...elements)
  for (const draw of begin) draw()
}
