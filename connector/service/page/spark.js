// A sparkline: packets of each second, of the last five minutes at most.

const SVG = "http://www.w3.org/2000/svg";
export const POINTS = 300;

export class Sparkline {
  constructor() {
    this.points = [];
    this.node = document.createElementNS(SVG, "svg");
    this.node.setAttribute("class", "spark");
    this.node.setAttribute("viewBox", `0 0 ${POINTS - 1} 28`);
    this.node.setAttribute("preserveAspectRatio", "none");
    this.node.setAttribute("role", "img");
    this.area = document.createElementNS(SVG, "path");
    this.area.setAttribute("class", "area");
    this.line = document.createElementNS(SVG, "path");
    this.node.append(this.area, this.line);
  }

  begin(points) {
    this.points = points.slice(-POINTS);
    this.draw();
  }

  add(point) {
    this.points.push(point);
    if (this.points.length > POINTS) this.points.shift();
    this.draw();
  }

  draw() {
    const points = this.points, highest = Math.max(1, ...points);
    const from = POINTS - points.length;
    const path = points.map((point, i) => `${from + i},${(27 - (point / highest) * 26).toFixed(1)}`).join("L");
    this.line.setAttribute("d", path ? `M${path}` : "");
    this.area.setAttribute("d", path ? `M${from},28L${path}L${POINTS - 1},28Z` : "");
    this.node.setAttribute("aria-label", points.length
      ? `ticks a second: now ${points[points.length - 1]}, highest ${highest}` : "no ticks yet");
  }
}
