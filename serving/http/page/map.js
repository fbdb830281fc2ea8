// The map: every item a point; history and recommendations stand out, and the pointer names what it is over.

export class ItemMap {
  constructor(canvas, tip) {
    this.canvas = canvas;
    this.tip = tip;
    this.points = [];
    this.history = new Set();
    this.recommended = new Set();
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    canvas.addEventListener("pointermove", (event) => this.point(event));
    canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  }

  load({ items, xy }) {
    const [xs, ys] = [xy.map((point) => point[0]), xy.map((point) => point[1])];
    const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
    const [[left, right], [bottom, top]] = [extent(xs), extent(ys)];
    this.points = items.map((item, index) => ({
      item, id: String(item.item_id),
      x: (xs[index] - left) / (right - left || 1), y: 1 - (ys[index] - bottom) / (top - bottom || 1),
    }));
    this.draw();
  }

  mark(history, recommended) {
    this.history = new Set(history.map((item) => String(item.item_id)));
    this.recommended = new Set(recommended.map((item) => String(item.item_id)));
    this.draw();
  }

  place(point) {
    const margin = 14;
    return [margin + point.x * (this.width - 2 * margin), margin + point.y * (this.height - 2 * margin)];
  }

  draw() {
    const scale = devicePixelRatio || 1;
    this.width = this.canvas.parentElement.clientWidth;
    this.height = Math.min(460, Math.max(260, this.width * 0.45));
    this.canvas.style.height = `${this.height}px`;
    this.canvas.width = this.width * scale;
    this.canvas.height = this.height * scale;
    const context = this.canvas.getContext("2d");
    context.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const layers = [
      [(id) => !this.history.has(id) && !this.recommended.has(id), "--point", 1.8],
      [(id) => this.history.has(id), "--history", 4],
      [(id) => this.recommended.has(id), "--accent", 5],
    ];
    for (const [belongs, colour, radius] of layers) {
      context.fillStyle = style.getPropertyValue(colour);
      for (const point of this.points) {
        if (!belongs(point.id)) continue;
        const [x, y] = this.place(point);
        context.beginPath();
        context.arc(x, y, radius, 0, 2 * Math.PI);
        context.fill();
      }
    }
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const [mouseX, mouseY] = [event.clientX - box.left, event.clientY - box.top];
    let [nearest, best] = [null, 144];
    for (const point of this.points) {
      const [x, y] = this.place(point);
      const distance = (x - mouseX) ** 2 + (y - mouseY) ** 2 - (this.recommended.has(point.id) ? 30 : 0);
      if (distance < best) [nearest, best] = [point, distance];
    }
    this.tip.hidden = nearest === null;
    if (nearest === null) return;
    this.tip.textContent = (nearest.item.title || nearest.id).slice(0, 120);
    const [x, y] = this.place(nearest);
    this.tip.style.left = `${Math.min(x + 10, this.width - this.tip.offsetWidth - 4)}px`;
    this.tip.style.top = `${y < 40 ? y + 14 : y - this.tip.offsetHeight - 8}px`;
  }
}
