// Links that download files.
import { h, styled, visible } from "./base.js"

export async function render({ model, el }) {
  await styled(el)
  const root = h("span", { class: "component exports" })
  el.append(root)
  const draw = () => root.replaceChildren("Export ", ...model.files.map(([href, text]) => h("a", { href, download: "" }, text + " ")), model.note && h("span", { class: "quiet" }, visible(model.note)))
  for (const property of ["files", "note"]) model.on(property, draw)
  draw()
}
