// The left navigation, and the address bar: links change the page without a reload; back and forward work.
import { h, styled, visible, zone } from "./base.js"

function links(model) {
  const here = model.url.split("?")[0]
  return model.items.map((item) => h("a", { href: item.path, class: item.path === here ? "here" : null, "aria-current": item.path === here ? "page" : null },
    h("span", { class: "icon", "aria-hidden": "true" }, item.icon), h("span", {}, item.label), item.badge ? h("span", { class: "badge" }, visible(item.badge)) : null))
}

function watchLinks(model) {
  const click = (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    const anchor = event.composedPath().find((e) => e.tagName === "A" && e.href)
    if (!anchor || anchor.target || anchor.hasAttribute("download")) return
    const url = new URL(anchor.href)
    if (url.origin !== location.origin || !model.items.some((item) => item.path === url.pathname)) return
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

// The server changed the filters: the same page keeps its history entry, another page gets its own.
function follow(model) {
  const now = location.pathname + location.search
  if (model.url === now) return
  if (model.url.split("?")[0] === location.pathname) history.replaceState(null, "", model.url)
  else history.pushState(null, "", model.url)
}

function colour(model) {
  const root = document.documentElement
  root.style.colorScheme = model.dark ? "dark" : "light"
  root.dataset.scheme = root.style.colorScheme
  document.cookie = `scheme=${root.style.colorScheme}; path=/; max-age=31536000; samesite=lax`
}

export async function render({ model, el }) {
  await styled(el)
  const root = h("nav", { class: "component nav", "aria-label": "Pages" })
  el.append(root)
  const draw = () => {
    root.replaceChildren(...links(model))
    document.title = (model.items.find((i) => i.path === model.url.split("?")[0])?.label || "Verdict") + " \u00b7 Verdict"
  }
  const unwatch = watchLinks(model)
  model.on("url", () => { follow(model); draw() })
  model.on("items", draw)
  model.on("dark", () => colour(model))
  model.on("remove", unwatch)
  if (model.first && matchMedia("(prefers-color-scheme: dark)").matches) model.dark = true
  model.zone = zone()
  colour(model)
  draw()
}
