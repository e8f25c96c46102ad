// The figures at the top of a page, each with its change against the period before.
import { h, number, percent, short, styled, visible } from "./base.js"

function change(tile) {
  if (tile.before === null || tile.before === undefined) return h("span", { class: "quiet" }, visible(tile.hint || "\u00a0"))
  if (!tile.before) return h("span", { class: "quiet" }, tile.value ? "none before" : "as before")
  const ratio = tile.value / tile.before - 1
  const title = `period before: ${number(tile.before)}`
  if (Math.abs(ratio) < 0.0005) return h("span", { class: "quiet", title }, "as before")
  const sign = ratio > 0 ? "\u2191" : "\u2193"
  return h("span", { class: "quiet", title }, `${sign} ${ratio > 9.99 ? "\u00d7" + short(tile.value / tile.before) : percent(Math.abs(ratio))}`)
}

function draw(model, root) {
  if (model.status.kind === "failed") return root.replaceChildren() // figures of before would stand beside what says so
  root.replaceChildren(...model.tiles.map((tile) => h("div", { class: `tile tile-${tile.tier || "plain"}` },
    h("span", { class: "label" }, tile.href ? h("a", { href: tile.href }, tile.label) : visible(tile.label)),
    h("span", { class: "value", title: typeof tile.value === "number" ? number(tile.value) : null }, typeof tile.value === "string" ? visible(tile.value) : short(tile.value)), change(tile))))
}

export async function render({ model, el }) {
  await styled(el)
  const root = h("section", { class: "component tiles", "aria-label": "figures" })
  el.append(root)
  for (const property of ["tiles", "status"]) model.on(property, () => draw(model, root))
  draw(model, root)
}
