// Downloads of the filtered log.
import { h, styled } from "./base.js"

export async function render({ model, el }) {
  await styled(el)
  const root = h("span", { class: "component exports" })
  el.append(root)
  const draw = () => root.replaceChildren("Export ", ...["csv", "json"].map((kind) => h("a", { href: `/export.${kind}?${model.query}`, download: "" }, kind.toUpperCase() + " ")))
  model.on("query", draw)
  draw()
}
