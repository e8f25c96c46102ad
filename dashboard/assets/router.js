// The top of every page and its address: links change the page without a reload, back and forward work; one field
// takes a name or a client address, and the key / goes there.
import { h, styled, typing, visible } from "./base.js"
import { watchConnection } from "./lost.js"
import { here } from "./visit.js"

function watchLinks(model) {
  const click = (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    const anchor = event.composedPath().find((e) => e.tagName === "A" && e.href)
    if (!anchor || anchor.target || anchor.hasAttribute("download")) return
    const url = new URL(anchor.href)
    if (url.origin !== location.origin || !model.paths.includes(url.pathname)) return
    event.preventDefault()
    go(model, url.pathname + url.search)
  }
  const back = () => { model.url = location.pathname + location.search }
  document.addEventListener("click", click)
  window.addEventListener("popstate", back)
  return () => { document.removeEventListener("click", click); window.removeEventListener("popstate", back) }
}

function go(model, url) {
  history.pushState(null, "", url)
  model.url = url
  window.scrollTo(0, 0)
}

let searched = false // what the server shows next was typed into the field above

// The range of a chart's bar, or one that was typed, for which "24 hours" is no way back.
const ownRange = (query) => {
  const given = new URLSearchParams(query)
  return given.get("range") === "custom" ? `${given.get("start")} ${given.get("end")}` : ""
}

// The server changed the filters: the same page keeps its history entry; another page gets its own, another name and a
// range of its own too.
function follow(model) {
  const now = location.pathname + location.search
  if (model.url === now) return
  const [path, query] = model.url.split("?")
  const ranged = ownRange(query) && ownRange(query) !== ownRange(location.search)
  if (!searched && !ranged && path === location.pathname) history.replaceState(null, "", model.url)
  else history.pushState(null, "", model.url)
  searched = false
}

const narrow = () => innerWidth < 900

// What the next page is made for.
function remember(scheme) {
  for (const [name, value] of [["scheme", scheme], ["narrow", narrow() ? 1 : 0]]) document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=lax`
}

// The first page of a browser that came past our log-in's form (by a link, from an issuer) was made for light and wide.
function unfit(model) {
  if (document.cookie.includes("scheme=")) return false
  const dark = matchMedia("(prefers-color-scheme: dark)").matches
  remember(dark ? "dark" : "light")
  return document.cookie.includes("scheme=") && (dark !== model.dark || narrow()) // a browser that keeps none would go round for ever
}

function colour(model) {
  const root = document.documentElement
  root.style.colorScheme = model.dark ? "dark" : "light"
  root.dataset.scheme = root.style.colorScheme
  remember(root.style.colorScheme)
}

// Who logs out does so in every tab of this browser: a page that is open would go on under that name.
function everywhere(model) {
  const tabs = new BroadcastChannel("verdict-log-out")
  tabs.onmessage = () => location.assign("/logout")
  model.on("remove", () => tabs.close())
  return () => tabs.postMessage("")
}

function bar(model) {
  const field = h("input", { type: "search", name: "q", placeholder: "Name or client", "aria-label": "Look up a name or a client address", autocomplete: "off", spellcheck: "false", maxlength: "1100" })
  const form = h("form", { role: "search", action: "/lookup", method: "get", onsubmit: (event) => {
    event.preventDefault()
    const text = field.value.trim()
    searched = Boolean(text)
    if (text) model.send_msg({ action: "search", text })
  } }, field, h("kbd", { "aria-hidden": "true" }, "/"))
  const jump = (event) => {
    if (event.key === "/" && !typing(event) && !event.ctrlKey && !event.metaKey) { event.preventDefault(); field.focus(); field.select() }
  }
  document.addEventListener("keydown", jump)
  model.on("remove", () => document.removeEventListener("keydown", jump))
  return h("div", { class: "component topbar" }, h("a", { class: "brand", href: "/" }, h("span", { "aria-hidden": "true" }, "\u25a0"), " Verdict"), form,
    h("span", { class: "who" }, h("bdi", {}, visible(model.user)), h("span", { class: "role quiet" }, " " + model.role)), h("a", { class: "out", href: "/logout", target: "_self", onclick: everywhere(model) }, "Log out"))
}

export async function render({ model, el, view }) {
  if (unfit(model)) return location.reload()
  await styled(el)
  const lost = h("div", { class: "part" })
  el.append(bar(model), lost)
  watchConnection(view, lost)
  const unwatch = watchLinks(model)
  const heading = h("h1", { class: "sr" }) // the page shown stands in the navigation, for those who see it
  el.prepend(heading)
  const title = () => {
    document.title = `${model.title} \u00b7 Verdict`
    heading.textContent = model.title
  }
  model.on("url", () => follow(model))
  model.on("title", title)
  title()
  model.on("dark", () => colour(model))
  model.on("remove", unwatch)
  model.on("remove", here())
  colour(model)
}
