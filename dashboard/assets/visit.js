// When this browser was last here: `seen` moves on while a page is open, `before` is where the visit before ended.
const GAP = 30 * 60e3
const read = (name) => Number(document.cookie.match(new RegExp(`(?:^|; )${name}=(\\d+)`))?.[1] || 0)
const write = (name, ms) => { document.cookie = `${name}=${Math.round(ms)}; path=/; max-age=7776000; samesite=lax` }

export function here() {
  const seen = read("seen")
  if (seen && Date.now() - seen > GAP) write("before", seen)
  const touch = () => { if (document.visibilityState === "visible") write("seen", Date.now()) }
  touch()
  const timer = setInterval(touch, 20e3)
  document.addEventListener("visibilitychange", touch)
  return () => { clearInterval(timer); document.removeEventListener("visibilitychange", touch) }
}

// Read: nothing more to tell until the next visit.
export const caughtUp = () => write("before", 0)
