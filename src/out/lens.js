/* The script of a lens' report (html.c). It is an addition: the page shows all its pictures without it.
   It reads everything from the table of pictures, sets text only as text, and loads nothing but the
   PNG files beside the page. */
(function () {
  "use strict";
  var lenses = Array.prototype.map.call(document.querySelectorAll(".lens"), setUp);
  var current = lenses[0];
  var timer = 0;

  /* One prompt: the table of pictures is the data, the viewer shows one of them. */
  function setUp(section) {
    var find = function (selector) { return section.querySelector(selector); };
    var lens = {
      section: section, image: find(".big img"), link: find(".big"), none: find(".big .none"),
      name: find(".name"), about: find(".name + p"), details: find(".details"),
      slider: find("input[type=range]"), play: find(".play"), now: find(".plot .now"),
      heads: section.querySelectorAll(".grid thead th:not(:first-child)"),
      rows: Array.prototype.map.call(section.querySelectorAll(".grid tbody tr"), function (tr) {
        return { head: tr.querySelector("th"), cells: tr.querySelectorAll("td") };
      }),
      seed: 0, layer: 0
    };
    lens.layer = +lens.slider.value;
    lens.slider.addEventListener("input", function () { stop(); show(lens, lens.seed, +this.value); });
    lens.play.addEventListener("click", function () { if (timer) stop(); else play(lens); });
    section.addEventListener("change", function (event) {
      if (event.target.type === "radio") show(lens, +event.target.value, lens.layer);
    });
    section.addEventListener("click", function (event) {
      var cell = event.target.closest(".grid td");
      if (!cell || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      stop();
      show(lens, cell.parentNode.rowIndex - 1, cell.cellIndex - 1);
      if (lens.link.getBoundingClientRect().bottom < 80)
        lens.link.scrollIntoView({ behavior: "smooth", block: "center" });
    });
    var plot = find(".plot");
    if (plot) ["pointerdown", "pointermove"].forEach(function (type) {
      plot.addEventListener(type, function (event) {
        if (type === "pointermove" && !event.buttons) return;
        stop();
        show(lens, lens.seed, nearest(lens, plot, event.clientX));
      });
    });
    show(lens, 0, lens.layer);
    return lens;
  }

  /* The layer whose point in the plot is nearest to the pointer. */
  function nearest(lens, plot, clientX) {
    var box = plot.getBoundingClientRect();
    var x = (clientX - box.left) / box.width * plot.viewBox.baseVal.width;
    var best = lens.layer, distance = Infinity;
    lens.heads.forEach(function (head, i) {
      if (head.dataset.x && Math.abs(head.dataset.x - x) < distance) {
        distance = Math.abs(head.dataset.x - x);
        best = i;
      }
    });
    return best;
  }

  function show(lens, seed, layer) {
    var row = lens.rows[seed], cell = row.cells[layer], head = lens.heads[layer];
    var old = lens.rows[lens.seed];
    [old.head, old.cells[lens.layer], lens.heads[lens.layer]].forEach(function (e) { e.classList.remove("on"); });
    [row.head, cell, head].forEach(function (e) { e.classList.add("on"); });
    lens.seed = seed;
    lens.layer = layer;
    lens.slider.value = layer;
    lens.slider.setAttribute("aria-valuetext", head.dataset.name + ", " + head.dataset.about);
    lens.name.textContent = head.dataset.name;
    lens.about.textContent = head.dataset.about;
    var radio = lens.section.querySelector(".seeds input[value='" + seed + "']");
    if (radio) radio.checked = true;
    showPicture(lens, cell);
    showDetails(lens, cell);
    lens.section.querySelectorAll(".plot .line").forEach(function (line) {
      line.classList.toggle("on", +line.dataset.line === seed);
    });
    if (lens.now) {
      lens.now.classList.toggle("at", "y" in cell.dataset);
      if ("y" in cell.dataset) {
        lens.now.querySelector("path").setAttribute("transform", "translate(" + head.dataset.x + ")");
        lens.now.querySelector("circle").setAttribute("transform", "translate(" + head.dataset.x + " " + cell.dataset.y + ")");
      }
    }
  }

  /* The picture inside the page at once, then the full one beside it where there is one. */
  function showPicture(lens, cell) {
    var thumbnail = cell.querySelector("img"), link = cell.querySelector("a");
    lens.image.hidden = !thumbnail;
    lens.none.hidden = !!thumbnail;
    lens.link.removeAttribute("href");
    if (!thumbnail) return;
    lens.image.src = thumbnail.src;
    lens.image.alt = thumbnail.alt;
    if (link.hasAttribute("href")) lens.link.href = link.getAttribute("href");
    if (!cell.dataset.full || !lens.link.href) return;
    var full = new Image(), wanted = lens.link.href;
    full.onload = function () { if (lens.link.href === wanted) lens.image.src = wanted; };
    full.src = wanted;
  }

  function showDetails(lens, cell) {
    var parts = [lens.rows[lens.seed].head.textContent];
    if (cell.dataset.distance) parts.push("distance " + cell.dataset.distance);
    if (cell.dataset.seconds) parts.push(cell.dataset.seconds);
    lens.details.textContent = parts.join(" \u00b7 ");
    (cell.dataset.flags || "").split(" ").filter(Boolean).forEach(function (flag) {
      var badge = document.createElement("span");
      badge.className = "badge";
      badge.textContent = flag;
      lens.details.append(" ", badge);
    });
    if (!lens.link.href) return;
    var open = document.createElement("a");
    open.className = "open";
    open.href = lens.link.href;
    open.textContent = "open the PNG";
    lens.details.append(" ", open);
  }

  function step(lens, by) {
    var layer = lens.layer + by;
    if (layer >= 0 && layer < lens.heads.length) show(lens, lens.seed, layer);
  }

  function play(lens) {
    if (lens.layer === lens.heads.length - 1) show(lens, lens.seed, 0);
    drawButton(lens, "Pause", "M6 4h4v16H6zM14 4h4v16h-4z");
    timer = setInterval(function () {
      step(lens, 1);
      if (lens.layer === lens.heads.length - 1) stop();
    }, 600);
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    lenses.forEach(function (lens) { drawButton(lens, "Play", "M7 4l13 8-13 8z"); });
  }

  function drawButton(lens, label, path) {
    lens.play.setAttribute("aria-label", label);
    lens.play.querySelector("path").setAttribute("d", path);
  }

  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|INPUT)$/.test(event.target.tagName)) return;
    var lens = current, last = lens.heads.length - 1;
    if (event.key === "ArrowLeft") { stop(); step(lens, -1); }
    else if (event.key === "ArrowRight") { stop(); step(lens, 1); }
    else if (event.key === "s") show(lens, (lens.seed + 1) % lens.rows.length, lens.layer);
    else if (event.key === "Home") { stop(); show(lens, lens.seed, 0); }
    else if (event.key === "End") { stop(); show(lens, lens.seed, last); }
    else if (event.key === "p") { if (timer) stop(); else play(lens); }
    else return;
    event.preventDefault();
  });

  var chooser = document.querySelector(".prompts");
  if (chooser) chooser.addEventListener("change", function () {
    stop();
    var layer = current.layer, seed = current.seed;
    current.section.classList.remove("current");
    current = lenses[this.selectedIndex];
    current.section.classList.add("current");
    show(current, seed, layer);
  });
})();
