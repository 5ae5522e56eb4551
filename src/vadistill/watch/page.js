const SPAN = 300, DAY = 86400, PAGE = 50, MOST = 500, QUIET = 10000
const ORDER = { start: 0, update: 1, end: 2 }
const STATES = { starting: "starting", live: "live", dead: "no picture", ended: "over" }
const VIEWS = { dark: "too dark", covered: "covered", moved: "moved", frozen: "picture frozen" }
const cameras = new Map(), rows = new Map(), going = new Map()
const opened = { camera: null, day: null, wanted: null, asking: false }
let ahead = 0, heard = Date.now(), alarmShown = null

const at = id => document.getElementById(id)
const now = () => Date.now() / 1000 + ahead  // the server's clock counts
function make(tag, kind = "", text = "") {
  const made = document.createElement(tag)
  made.className = kind
  made.textContent = text
  if (tag === "button") made.type = "button"
  return made
}
async function ask(path, body) {
  const how = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }
  const answer = await fetch(path, body === undefined ? {} : how)
  if (answer.status === 401) location.assign("/login")
  const content = await answer.json()
  if (!answer.ok) throw new Error(content.error)
  return content
}
function fails(error) {
  at("toast").textContent = `That did not work: ${error.message}`
  at("toast").hidden = false
  setTimeout(() => { at("toast").hidden = true }, 6000)
}
const many = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`
const short = value => value === null ? "–" : value.toLocaleString("en", { minimumSignificantDigits: 3, maximumSignificantDigits: 3, useGrouping: false })
const clock = seconds => new Date(1000 * seconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" })
function when(seconds) {
  const date = new Date(1000 * seconds), today = new Date(1000 * now()).toDateString() === date.toDateString()
  return `${today ? "Today" : date.toLocaleDateString([], { month: "short", day: "numeric" })}, ${clock(seconds)}`
}
function lasting(seconds) {
  for (const [size, word] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (seconds >= size) return `${Math.floor(seconds / size)} ${word}`
  return `${Math.max(0, Math.floor(seconds))} s`
}
const ago = seconds => seconds < 2 ? "now" : `${lasting(seconds)} ago`

// The wall

const seen = new IntersectionObserver(entries => entries.forEach(entry => {
  entry.target.camera.visible = entry.isIntersecting
  if (entry.isIntersecting) { refresh(entry.target.camera); show(entry.target.camera) }
}), { rootMargin: "200px" })

const reason = ({ problem, source }) => problem.startsWith(`${source}: `) ? problem.slice(source.length + 2) : problem
function addCamera(state) {
  const card = make("li", "camera"), view = make("button", "view"), note = make("span", "note"), mark = make("span", "mark")
  const line = make("div", "line"), told = make("span", "soft"), curve = make("div", "curve"), canvas = make("canvas"), score = make("p")
  view.setAttribute("aria-label", `Open camera ${state.name}`)
  note.append(make("span"), make("small"))
  view.append(make("img"), note, mark)
  view.firstChild.hidden = note.hidden = mark.hidden = true
  line.append(make("span", "dot"), make("b", "cut", state.name), told)
  canvas.setAttribute("role", "img")
  canvas.setAttribute("aria-label", `Score of ${state.name} in the last five minutes`)
  score.append("", make("small"))
  curve.append(canvas, score)
  card.append(view, line, curve)
  const camera = card.camera = { state, card, view, note, mark, told, canvas, score, times: [], scores: [], visible: false, fetching: false, shown: -1 }
  view.onclick = () => openCamera(camera)
  cameras.set(state.name, camera)
  at("only").append(new Option(state.name, state.name))
  seen.observe(card)
  ask(`/api/cameras/${state.name}/scores?seconds=${SPAN}`).then(found => {
    const later = camera.times.findIndex(time => time > (found.times.at(-1) ?? 0))
    camera.times = found.times.concat(later < 0 ? [] : camera.times.slice(later))
    camera.scores = found.scores.concat(later < 0 ? [] : camera.scores.slice(later))
    show(camera)
  }, () => {})
  return camera
}
function removeCamera(camera) {
  seen.unobserve(camera.card)
  camera.card.remove()
  cameras.delete(camera.state.name)
  for (const option of [...at("only").options]) if (option.value === camera.state.name) option.remove()
}
function takeState(state) {
  const camera = cameras.get(state.name) ?? addCamera(state), isNew = state.last_frame > (camera.times.at(-1) ?? 0)
  ahead = state.now - Date.now() / 1000
  camera.state = state
  const isScored = state.frames_analysed && state.score !== null && (state.score || camera.scores.length)  // 0: none yet
  if (isNew && isScored) {
    camera.times.push(state.last_frame)
    camera.scores.push(state.score)
    while (camera.times[0] < state.last_frame - SPAN) { camera.times.shift(); camera.scores.shift() }
  }
  show(camera)
  refresh(camera)
}
function show(camera) {
  const { state, card, note, mark } = camera, age = now() - state.last_frame, live = state.state === "live"
  card.dataset.state = state.state
  camera.told.textContent = !state.last_frame || state.state === "ended" ? STATES[state.state] : live ? `live, ${ago(age)}` : `last seen ${ago(age)}`
  note.hidden = live
  note.firstChild.textContent = { starting: "Starting …", ended: "The film is over" }[state.state] ?? (state.last_frame ? `No picture for ${lasting(age)}` : "No picture yet")
  note.lastChild.textContent = reason(state)
  const alarmed = [...going.values()].some(alarm => alarm.camera === state.name), odd = VIEWS[state.view]
  card.classList.toggle("alarmed", alarmed)
  mark.hidden = !alarmed && !(odd && live)
  mark.classList.toggle("odd", !alarmed)
  mark.textContent = alarmed ? "Alarm" : odd ?? ""
  camera.score.firstChild.textContent = live && state.frames_analysed ? short(state.score) : "–"
  camera.score.lastChild.textContent = state.threshold === null ? "no limit" : `of ${short(state.threshold)}`
  if (camera.visible && !document.hidden) draw(camera.canvas, camera, { span: SPAN, threshold: state.threshold })
}
async function refresh(camera) {
  const { state } = camera
  if (!camera.visible || document.hidden || camera.fetching || !state.frames_analysed || camera.shown === state.frames_analysed) return
  camera.fetching = true
  const next = make("img"), count = state.frames_analysed
  next.alt = `Camera ${state.name}`
  next.src = `/picture/${state.name}.jpg?${count}.${Math.floor(state.last_frame)}`
  try {
    await next.decode()
    camera.view.firstChild.replaceWith(next)
    camera.shown = count
  } catch { /* the next state tries again */ }
  camera.fetching = false
}
function sum() {
  const all = [...cameras.values()], gone = all.filter(camera => camera.state.state === "dead")
  at("count").textContent = all.length ? many(all.length, "camera") + (gone.length ? "," : "") : ""
  at("gone").hidden = !gone.length
  at("gone").textContent = `${gone.length} without a picture`
  at("gone").onclick = () => { gone[0].view.scrollIntoView({ block: "center" }); gone[0].view.focus({ preventScroll: true }) }
  at("wall").classList.toggle("many", all.length > 4)
  document.title = `${going.size ? `(${going.size}) ` : ""}vadistill watch`
}
at("wall").onkeydown = event => {
  const wide = getComputedStyle(at("wall")).gridTemplateColumns.split(" ").length
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -wide, ArrowDown: wide }[event.key]
  const views = [...at("wall").querySelectorAll(".view")], next = views[views.indexOf(document.activeElement) + step]
  if (next) { next.focus(); event.preventDefault() }
}

// Alarms

function takeAlarm(alarm, isNews = true) {
  const known = rows.get(alarm.id)?.alarm ?? going.get(alarm.id)
  if (known && ORDER[known.phase] > ORDER[alarm.phase]) return
  alarm.phase === "end" ? going.delete(alarm.id) : going.set(alarm.id, alarm)
  if (isNews && alarm.phase === "start") at("said").textContent = `Alarm: ${place(alarm)}, ${clock(alarm.start)}`
  if (cameras.has(alarm.camera)) show(cameras.get(alarm.camera))
  sum()
  if (at("only").value && at("only").value !== alarm.camera) return
  const row = rows.get(alarm.id) ?? addRow(alarm)
  row.alarm = { feedback: row.alarm.feedback ?? null, ...alarm }
  showRow(row)
}
const place = alarm => alarm.camera + (alarm.zone ? `, ${alarm.zone}` : "")
function addRow(alarm) {
  const item = make("li"), view = make("button", "view"), picture = make("img"), body = make("div", "body"), bar = make("div", "bar")
  const row = item.row = { alarm, item, view, picture, name: make("b", "cut"), when: make("time", "soft cut"), score: make("span", "soft cut"), judge: make("button"), bar }
  picture.alt = ""
  picture.hidden = true
  picture.onerror = () => { picture.hidden = true }
  view.append(picture)
  bar.append(make("i"), make("u"))
  body.append(row.name, row.when, bar, row.score, row.judge)
  item.append(view, body)
  view.onclick = () => openClip(row)
  row.judge.onclick = () => judge(row)
  rows.set(alarm.id, row)
  const before = [...at("alarms").children].find(other => other.row.alarm.start < alarm.start) ?? null
  at("alarms").insertBefore(item, before)
  for (const last of [...at("alarms").children].slice(MOST)) { last.remove(); rows.delete(last.row.alarm.id) }
  at("none").hidden = true
  return row
}
// The picture changes with the peak, and browsers keep what they have got.
const shot = alarm => `/files/${alarm.snapshot}?peak=${alarm.peak}`
function showRow(row) {
  const { alarm } = row, isOn = alarm.phase !== "end", isWrong = alarm.feedback === false, high = 1.15 * Math.max(alarm.score, alarm.threshold)
  row.item.className = `alarm${isOn ? " going" : ""}${isWrong ? " wrong" : ""}`
  row.name.textContent = place(alarm)
  row.when.textContent = when(alarm.start) + (isOn ? ", now" : `, ${lasting(Math.max(1, alarm.end - alarm.start))}`)
  row.when.dateTime = new Date(1000 * alarm.start).toISOString()
  row.score.textContent = isWrong ? "Marked as not an alarm" : `Score ${short(alarm.score)} of ${short(alarm.threshold)}`
  row.bar.firstChild.style.width = `${100 * Math.max(0, alarm.score / high)}%`
  row.bar.lastChild.style.left = `${100 * Math.max(0, alarm.threshold / high)}%`
  row.judge.textContent = isWrong ? "Undo" : "Not an alarm"
  row.judge.setAttribute("aria-label", `${row.judge.textContent}: ${place(alarm)}, ${clock(alarm.start)}`)
  row.view.setAttribute("aria-label", `Show ${place(alarm)}, ${clock(alarm.start)}`)
  if (alarm.snapshot && row.picture.getAttribute("src") !== shot(alarm)) {
    row.picture.src = shot(alarm)
    row.picture.hidden = false
    const [x, y, width, height] = alarm.box  // the place stays in view where the picture is cut
    row.picture.style.objectPosition = `${100 * (x + width / 2)}% ${100 * (y + height / 2)}%`
  }
  if (alarmShown === row) showClip(row)
}
async function judge(row) {
  row.judge.disabled = true
  try {
    const made = await ask(`/api/alarms/${row.alarm.id}/feedback`, { is_alarm: row.alarm.feedback === false ? null : false })
    row.alarm.feedback = made.is_alarm
    showRow(row)
  } catch (error) { fails(error) }
  row.judge.disabled = false
}
async function loadAlarms(until) {
  const only = at("only").value, query = new URLSearchParams({ limit: PAGE })
  if (only) query.set("camera", only)
  if (until) query.set("until", until)
  const found = await ask(`/api/alarms?${query}`)
  if (only !== at("only").value) return
  found.forEach(alarm => takeAlarm(alarm, false))
  if (until || rows.size <= PAGE) at("older").hidden = found.length < PAGE || rows.size >= MOST
  at("none").hidden = rows.size > 0
}
at("older").onclick = () => loadAlarms([...rows.values()].reduce((first, row) => Math.min(first, row.alarm.start), Infinity)).catch(fails)
at("only").onchange = () => {
  rows.clear()
  at("alarms").replaceChildren()
  loadAlarms().catch(fails)
}

// One alarm

function openClip(row) {
  alarmShown = row
  at("film").poster = row.alarm.snapshot ? shot(row.alarm) : ""
  showClip(row)
  at("clip").showModal()
}
function showClip(row) {
  const { alarm } = row, film = at("film"), source = alarm.clip ? `/files/${alarm.clip}` : ""
  at("whose").textContent = place(alarm)
  at("about").textContent = `${row.when.textContent}. ${row.score.textContent}. ` + (alarm.clip ? "" : alarm.phase === "end" ? "There is no clip." : "It goes on; its clip comes behind it.")
  at("judge").textContent = row.judge.textContent
  if (source && film.dataset.source !== source) { film.dataset.source = source; film.src = source; film.play().catch(() => {}) }
}
at("film").onerror = () => {
  const row = alarmShown, source = at("film").dataset.source
  if (!row || !source) return
  const isYoung = now() - row.alarm.end < 300
  at("about").textContent = `${row.when.textContent}. ${isYoung ? "The clip is being written …" : "The clip is not there: old ones are removed."}`
  if (isYoung) setTimeout(() => { if (alarmShown === row && at("film").dataset.source === source) { delete at("film").dataset.source; showClip(row) } }, 3000)
}
at("judge").onclick = () => judge(alarmShown)
at("clip").onclose = () => {
  alarmShown = null
  delete at("film").dataset.source
  at("film").removeAttribute("src")
  at("film").removeAttribute("poster")
  at("film").load()
}

// One camera

const span = () => Number(document.querySelector("[name=span]:checked").value)
async function openCamera(camera) {
  const { name } = camera.state
  Object.assign(opened, { camera, day: null, wanted: null })
  at("title").textContent = name
  at("stream").alt = `Camera ${name}, live`
  at("stream").src = `/stream/${name}.mjpeg?${Date.now()}`
  at("threshold").disabled = at("use").disabled = true
  at("value").textContent = at("would").textContent = ""
  showOpened()
  if (!at("camera").open) at("camera").showModal()
  const day = await ask(`/api/cameras/${name}/scores?seconds=${DAY}`).catch(() => ({ times: [], scores: [] }))
  if (opened.camera !== camera) return
  opened.day = day
  placeSlider()
  showOpened()
}
function placeSlider() {
  const { camera, day } = opened, { threshold } = camera.state
  const high = day.scores.concat(camera.scores).reduce((most, score) => Math.max(most, score), Math.max(threshold ?? 0, 1e-3))
  at("threshold").max = 1.25 * high
  at("threshold").step = high / 400
  at("threshold").value = threshold ?? 1.25 * high
  at("threshold").disabled = false
  at("use").disabled = true
  at("value").textContent = short(threshold)
  at("threshold").setAttribute("aria-valuetext", short(threshold))
  at("would").textContent = threshold === null ? "Without a threshold there are no alarms." : "Drag to see what another threshold would have done."
}
function showOpened() {
  const { camera, day } = opened
  if (!camera) return
  const { state } = camera, length = span(), last = day?.times.at(-1) ?? 0, later = camera.times.findIndex(time => time > last)
  const long = length > SPAN && day ? { times: day.times.concat(later < 0 ? [] : camera.times.slice(later)), scores: day.scores.concat(later < 0 ? [] : camera.scores.slice(later)) } : camera
  const bands = [...rows.values()].filter(row => row.alarm.camera === state.name).map(row => [row.alarm.start, row.alarm.end ?? now()])
  draw(at("long"), long, { span: length, threshold: at("use").disabled ? state.threshold : Number(at("threshold").value), bands, labels: true })
  at("state").hidden = state.state === "live"
  at("state").textContent = camera.note.firstChild.textContent
  const facts = {
    "State": camera.told.textContent, "Score": short(state.score), "Frames": `${state.frames_in} came, ${state.frames_analysed} analysed`,
    "Left out": many(state.frames_dropped, "frame"), "Delay": `${Math.round(1000 * state.latency)} ms`, "Connected again": many(state.reconnects, "time"),
    "Source": state.source, ...(state.problem && { "Problem": reason(state) }),
  }
  at("facts").replaceChildren(...Object.entries(facts).map(([name, text]) => { const pair = make("div"); pair.append(make("dt", "", name), make("dd", "", text)); return pair }))
}
at("threshold").oninput = async () => {
  opened.wanted = Number(at("threshold").value)
  at("value").textContent = short(opened.wanted)
  at("threshold").setAttribute("aria-valuetext", short(opened.wanted))
  at("use").disabled = false
  showOpened()
  if (opened.asking) return  // the newest value is asked for when this answer is here
  opened.asking = true
  while (opened.wanted !== null) {
    const { wanted: value, camera } = opened
    opened.wanted = null
    try {
      const { alarms } = await ask(`/api/cameras/${camera.state.name}/threshold?value=${value}`)
      if (opened.camera === camera && !at("use").disabled) at("would").textContent = `From ${short(value)} on, this would have been ${many(alarms, "alarm")} of the whole picture in the last 24 hours.`
    } catch (error) { at("would").textContent = `This cannot be told: ${error.message}` }
  }
  opened.asking = false
}
async function setThreshold(value) {
  const { camera } = opened
  try {
    const { threshold } = await ask(`/api/cameras/${camera.state.name}/threshold`, { value })
    camera.state.threshold = threshold  // of the newest state: others may have come meanwhile
    show(camera)
    if (opened.camera !== camera) return
    placeSlider()
    at("would").textContent = threshold === null ? "Saved: no alarms without a threshold." : `Saved: alarms from ${short(threshold)} on.`
    showOpened()
  } catch (error) { fails(error) }
}
at("use").onclick = () => setThreshold(Number(at("threshold").value))
at("reset").onclick = () => setThreshold(null)
at("spans").onchange = showOpened
function step(by) {
  const all = [...at("wall").children].map(card => card.camera)
  openCamera(all[(all.indexOf(opened.camera) + by + all.length) % all.length])
}
at("before").onclick = () => step(-1)
at("behind").onclick = () => step(1)
at("camera").onkeydown = event => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
  if (by && event.target.tagName !== "INPUT") step(by)
}
at("stream").onerror = () => setTimeout(() => { if (opened.camera) at("stream").src = `/stream/${opened.camera.state.name}.mjpeg?${Date.now()}` }, 3000)
at("camera").onclose = () => { opened.camera?.view.focus(); opened.camera = opened.wanted = null; at("stream").removeAttribute("src") }
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.querySelector("[data-close]").onclick = () => dialog.close()
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close() })
}

// The connection

async function begin() {
  const states = await ask("/api/cameras"), names = new Set(states.map(state => state.name))
  for (const camera of [...cameras.values()]) if (!names.has(camera.state.name)) removeCamera(camera)
  states.forEach(takeState)
  const order = states.map(state => cameras.get(state.name).card)
  if (order.some((card, index) => at("wall").children[index] !== card)) at("wall").append(...order)
  going.clear()
  if (at("only").value) (await ask(`/api/alarms?limit=${PAGE}`)).forEach(alarm => takeAlarm(alarm, false))
  await loadAlarms()
  document.querySelector("main").hidden = false  // all at once, so that nothing jumps
  cameras.forEach(show)
  sum()
}
function isLost(lost) {
  at("lost").hidden = !lost
  document.body.classList.toggle("lost", lost)
}
function follow() {
  const events = new EventSource("/api/events")
  const again = () => { isLost(true); events.close(); clearInterval(watch); setTimeout(() => ask("/api/cameras").then(follow, again), 2000) }
  const watch = setInterval(() => { if (Date.now() - heard > QUIET) again() }, 1000)
  const take = (kind, deed) => events.addEventListener(kind, event => { heard = Date.now(); deed(JSON.parse(event.data)) })
  events.onopen = () => { heard = Date.now(); isLost(false); begin().catch(again) }
  events.onerror = () => { isLost(true); if (events.readyState === EventSource.CLOSED) again() }
  take("camera", state => { if (cameras.has(state.name)) takeState(state) })
  take("alarm", alarm => takeAlarm(alarm))
  take("cameras", () => begin().catch(() => {}))
}
setInterval(() => { cameras.forEach(show); sum(); showOpened() }, 1000)
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); cameras.forEach(show); showOpened() })
addEventListener("resize", () => { cameras.forEach(show); showOpened() })
document.addEventListener("visibilitychange", () => { if (!document.hidden) cameras.forEach(camera => { show(camera); refresh(camera) }) })
readColours()
follow()
