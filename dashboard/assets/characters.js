// What each character of a name did to the score: stronger colour, larger effect; the numbers stand in the titles.
import { h, placeholder, styled, visible } from "./base.js"

function draw(model, root) {
  const heading = h("h2", { class: "heading" }, "What the model saw")
  if (!model.characters.length) return root.replaceChildren(heading, placeholder({ kind: "empty" }, model.empty))
  const most = Math.max(...model.characters.map((c) => Math.abs(c.weight)), 1e-9)
  const cells = model.characters.map((c) => {
    const share = Math.round((100 * Math.abs(c.weight)) / most)
    return h("span", { class: `ch ${c.weight > 0 ? "up" : "down"}`, style: `--share:${share}%`, title: `${visible(c.character)}: ${c.weight > 0 ? "+" : "\u2212"}${Math.abs(c.weight).toFixed(3)}` }, visible(c.character), h("i", { "aria-hidden": "true", style: `height:${Math.max(1, share * 0.22)}px` }))
  })
  const strongest = [...model.characters].sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).slice(0, 3).map((c) => `${visible(c.character)} ${c.weight > 0 ? "raises" : "lowers"}`)
  root.replaceChildren(heading, h("div", { class: "chars", role: "img", "aria-label": `Effect of each character on the score; strongest: ${strongest.join(", ")} it` }, cells),
    h("p", { class: "quiet" }, h("span", { class: "ch up", style: "--share:90%" }, "raises"), " ", h("span", { class: "ch down", style: "--share:90%" }, "lowers"), " the score; the bar is the size of the effect"))
}

export async function render({ model, el }) {
  await styled(el)
  const root = h("section", { class: "component" })
  el.append(root)
  for (const property of ["characters", "empty"]) model.on(property, () => draw(model, root))
  draw(model, root)
}
