// What every component shares: elements made of text alone, values made visible, numbers and times as people read them.
// No value ever becomes markup: `h` sets textContent and attributes, nothing here parses HTML.

export function h(tag, attributes = {}, ...children) {
  const svg = SVG_TAGS.has(tag)
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value)
    else element.setAttribute(name, value === true ? "" : String(value))
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue
    element.append(child instanceof Node ? child : document.createTextNode(String(child)))
  }
  return element
}

const SVG_TAGS = new Set(["svg", "g", "rect", "line", "path", "text", "circle", "polyline", "title", "desc"])

// Control octets, bidirectional marks, zero-width and other invisible characters: shown as <U+202E>, never applied.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu

export function visible(value) {
  if (value === null || value === undefined) return ""
  return String(value).replace(UNSEEN, (c) => `<U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`)
}

export const TIERS = {
  block: { sign: "\u25a0", text: "block" },
  alert: { sign: "\u25b2", text: "alert" },
  none: { sign: "\u25cb", text: "none" },
  unknown: { sign: "?", text: "unknown" },
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 })
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 })

export const number = (n) => (n === null || n === undefined ? "\u2013" : whole.format(n))
export const short = (n) => (n === null || n === undefined ? "\u2013" : Math.abs(n) < 10000 ? whole.format(n) : compact.format(n))
export const score = (x) => (x === null || x === undefined ? "\u2013" : x >= 0.9995 ? "1.00" : x > 0 && x < 0.005 ? "<0.01" : x.toFixed(2))
export const percent = (x) => (x === null || x === undefined ? "\u2013" : (100 * x).toFixed(x > 0 && x < 0.01 ? 2 : 1) + " %")

const pad = (n, width = 2) => String(n).padStart(width, "0")

export function clock(ms) {
  const t = new Date(ms)
  return `${pad(t.getHours())}:${pad(t.getMinutes())}:${pad(t.getSeconds())}`
}

export function day(ms) {
  const t = new Date(ms)
  return `${t.getFullYear()}-${pad(t.getMonth() + 1)}-${pad(t.getDate())}`
}

// None where there is none, and beyond what a calendar holds.
export const iso = (ms) => (ms && Number.isFinite(new Date(ms).getTime()) ? new Date(ms).toISOString() : null)
export const minute = (ms) => (iso(ms) ? `${day(ms)} ${clock(ms).slice(0, 5)}` : "\u2013")

// Today's times as a clock, others with their day; always the viewer's zone.
export const time = (ms) => (iso(ms) && day(ms) === day(Date.now()) ? clock(ms) : minute(ms))

export const exactly = (ms) => (iso(ms) ? `${day(ms)} ${clock(ms)}.${pad(ms % 1000, 3)} ${zone()} (${iso(ms)})` : "")
export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC"

export function ago(ms) {
  if (!ms) return "never"
  const seconds = Math.max(0, (Date.now() - ms) / 1000)
  if (seconds < 90) return `${Math.round(seconds)} s ago`
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h ago`
  return `${Math.round(seconds / 86400)} d ago`
}

// A time that goes on: "5 s ago" would stand there until the row changes, and so would yesterday's clock as today's.
const running = { ago, time, until: (ms) => (ms < Date.now() ? "expired" : time(ms)) }

export const moment = (kind, ms, attributes = {}) => h("time", { title: exactly(ms), ...(ms ? { "data-kind": kind, "data-ms": ms } : {}), ...attributes }, running[kind](ms))

export function tick(root) {
  for (const element of root.querySelectorAll("time[data-ms]")) {
    const text = running[element.dataset.kind](Number(element.dataset.ms))
    if (element.textContent !== text) element.textContent = text
  }
}

// Whether a key is meant for what has the focus: a field, a list that is open, a dialog.
const FIELDS = /^(INPUT|TEXTAREA|SELECT)$/, ROLES = /^(combobox|listbox|option|menu|menuitem|dialog|presentation)$/
export const typing = (event) => event.composedPath().some((e) => (FIELDS.test(e.tagName) && e.type !== "checkbox") || e.isContentEditable || ROLES.test(e.getAttribute?.("role") || ""))

export const tierSign = (tier) => {
  const known = TIERS[tier] || TIERS.unknown
  return h("span", { class: `tier tier-${tier in TIERS ? tier : "unknown"}` },
    h("span", { "aria-hidden": "true", class: "sign" }, known.sign), " ", known.text)
}

// A link inside the application; the router turns the click into a page change without a reload.
export const link = (path, query, text, attributes = {}) =>
  h("a", { href: path + "?" + new URLSearchParams(query).toString(), ...attributes }, h("bdi", {}, visible(text)))

// A link to the page of a name (dashboard/typed.py, `page_of`).
export const lookup = (name, attributes) => link("/lookup", { q: /^[0-9][0-9.]*$/.test(name) ? name + "." : name }, name, attributes)

export async function copy(text, near) {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    const area = h("textarea", { "aria-label": "copy", style: "position:fixed;opacity:0" })
    area.value = text
    document.body.append(area)
    area.select()
    document.execCommand("copy")
    area.remove()
  }
  if (!near) return
  const before = near.textContent
  near.textContent = "copied"
  setTimeout(() => { near.textContent = before }, 1200)
}

export const defanged = (name) => visible(name).replaceAll(".", "[.]")

let sheet = null

// Each page lives in a shadow root, the bar and the navigation too; all of them adopt the one style sheet.
export async function styled(element) {
  if (!sheet) {
    sheet = new CSSStyleSheet()
    const loaded = fetch(new URL("verdict.css", import.meta.url)).then((r) => r.text())
    sheet.ready = loaded.then((text) => sheet.replaceSync(text))
  }
  const root = element.getRootNode()
  if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet]
  await sheet.ready
}

// What stands in place of the content while there is none: reading, slow, failed, empty.
export function placeholder(status, empty) {
  if (status.kind === "loading") {
    return h("div", { class: "placeholder loading", role: "status" }, h("span", { class: "bar" }), h("span", { class: "bar" }),
      h("span", { class: "bar" }), h("span", { class: "sr" }, status.text || "Reading the store"))
  }
  if (status.kind === "failed") {
    return h("div", { class: "placeholder failed", role: "status" }, h("strong", {}, status.title || "No answer from the store"), h("span", {}, visible(status.text)),
      status.title ? null : h("span", { class: "quiet" }, "This page tries again by itself."))
  }
  return h("div", { class: "placeholder empty", role: "status" }, h("span", {}, visible(empty || "Nothing here in this range.")))
}
