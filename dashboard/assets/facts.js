// What is known of one thing, as a list of terms and values.
import { h, placeholder, styled, visible } from "./base.js"
import { CELLS } from "./cells.js"

function draw(model, root) {
  const heading = model.heading ? h("h2", { class: "heading" }, visible(model.heading)) : ""
  if (model.status.kind !== "ready" && !model.facts.length) return root.replaceChildren(heading, placeholder(model.status, model.empty))
  if (!model.facts.length) return root.replaceChildren(heading, placeholder({ kind: "empty" }, model.empty))
  const rows = model.facts.map((fact) => [h("dt", {}, fact.label), h("dd", {}, (CELLS[fact.kind] || CELLS.text)(fact.value, fact, fact), fact.more ? h("span", { class: "quiet" }, " " + visible(fact.more)) : "")])
  root.replaceChildren(heading, h("dl", { class: "facts" }, rows.flat()))
}

export async function render({ model, el }) {
  await styled(el)
  const root = h("section", { class: "component" })
  el.append(root)
  for (const property of ["facts", "status", "heading", "empty"]) model.on(property, () => draw(model, root))
  draw(model, root)
}
