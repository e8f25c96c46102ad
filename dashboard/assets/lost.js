// The server is gone, was started anew, or the laptop slept: what is shown stands still, and says so. Once the server
// answers again the page is loaded anew at its address, which holds its filters; whoever is no longer logged in logs in.
import { clock, h } from "./base.js"

const EVERY = 5e3

// Not under somebody's hands: what was typed and not yet sent would be gone.
const busy = () => {
  let active = document.activeElement
  while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement
  return /^(INPUT|TEXTAREA)$/.test(active?.tagName || "") && active.type !== "checkbox" && active.value !== ""
}

export function watchConnection(view, place) {
  const page = view?.model?.document
  page?.on_event("connection_lost", () => {
    if (place.childElementCount) return
    const again = () => location.reload()
    place.append(h("div", { class: "lost", role: "alert" }, h("strong", {}, "No connection to the dashboard."), ` What you see is as of ${clock(Date.now())}. `,
      h("button", { type: "button", class: "small", onclick: again }, "Load anew")))
    setInterval(async () => {
      if (busy()) return
      const answered = await fetch("/healthz", { cache: "no-store" }).then((reply) => reply.ok, () => false)
      if (answered) again()
    }, EVERY)
  })
}
