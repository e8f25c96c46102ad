// One sentence, announced to those who cannot see it.
import { exactly, h, iso, minute, styled, visible } from "./base.js"

const SIGNS = { good: "\u2713 ", warn: "\u26a0 ", wait: "\u2026 ", info: "" }

export async function render({ model, el }) {
  await styled(el)
  const root = h("div", { role: "status" })
  el.append(root)
  const draw = () => {
    root.className = `component notice notice-${model.kind}`
    root.replaceChildren(h("span", { "aria-hidden": "true" }, SIGNS[model.kind] || ""), h("bdi", {}, visible(model.text)), " ",
      ...(model.since ? ["since ", h("time", { title: exactly(model.since), datetime: iso(model.since) }, minute(model.since)), " "] : []),
      model.more.length ? h("a", { href: model.more[0] }, model.more[1]) : "")
  }
  for (const property of ["text", "kind", "since"]) model.on(property, draw)
  draw()
}
