// Curves of scores, with the threshold as a dashed line

const colours = {}

function readColours() {
  const style = getComputedStyle(document.documentElement)
  for (const name of ["tone", "wash", "heat", "hot", "soft"]) colours[name] = style.getPropertyValue(`--${name}`)
}
function draw(canvas, { times, scores }, { span, threshold, bands = [], labels = false }) {
  const wide = canvas.clientWidth, tall = canvas.clientHeight, pen = canvas.getContext("2d"), fine = devicePixelRatio
  if (!wide || !tall) return
  if (canvas.width !== Math.round(wide * fine) || canvas.height !== Math.round(tall * fine)) {
    canvas.width = Math.round(wide * fine)
    canvas.height = Math.round(tall * fine)
  }
  pen.setTransform(fine, 0, 0, fine, 0, 0)
  pen.clearRect(0, 0, wide, tall)
  const end = now(), first = times.findIndex(time => time >= end - span), ground = tall - (labels ? 18 : 1)
  const high = 1.12 * scores.slice(Math.max(0, first)).reduce((most, score) => Math.max(most, score), Math.max(threshold ?? 0, 1e-6))
  const x = time => (1 - (end - time) / span) * wide, y = score => ground - Math.max(0, score) / high * (ground - 2)
  pen.fillStyle = colours.hot
  for (const [from, to] of bands) pen.fillRect(x(from), 0, Math.max(2, x(to) - x(from)), ground)
  const line = new Path2D(), area = new Path2D(), gap = Math.max(6, span / 200)
  let last = null
  for (let index = Math.max(0, first); first >= 0 && index < times.length; index++) {
    const [across, up] = [x(times[index]), y(scores[index])]
    if (last === null || times[index] - last > gap) {
      if (last !== null) area.lineTo(x(last), ground)
      line.moveTo(across, up)
      area.moveTo(across, ground)
    }
    line.lineTo(across, up)
    area.lineTo(across, up)
    last = times[index]
  }
  if (last !== null) area.lineTo(x(last), ground)
  const edge = threshold === null ? -1 : y(threshold)
  const part = (from, to, stroke, fill) => {
    pen.save()
    pen.beginPath()
    pen.rect(0, from, wide, to - from)
    pen.clip()
    pen.fillStyle = fill
    pen.fill(area)
    pen.strokeStyle = stroke
    pen.lineWidth = 1.5
    pen.stroke(line)
    pen.restore()
  }
  part(Math.max(0, edge), tall, colours.tone, colours.wash)
  if (edge > 0) {
    part(0, edge, colours.heat, colours.hot)
    pen.strokeStyle = colours.heat
    pen.setLineDash([4, 4])
    pen.beginPath()
    pen.moveTo(0, edge)
    pen.lineTo(wide, edge)
    pen.stroke()
    pen.setLineDash([])
  }
  if (!labels) return
  pen.fillStyle = colours.soft
  pen.font = "12px system-ui, sans-serif"
  for (const [share, align] of [[0, "left"], [.5, "center"], [1, "right"]]) {
    pen.textAlign = align
    pen.fillText(share === 1 ? "now" : clock(end - (1 - share) * span).slice(0, 5), share * wide, tall - 3)
  }
}
