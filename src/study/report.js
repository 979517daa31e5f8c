/* The grid of pictures of an experiment's report: layer slider, filters, zoom. All data stands in
   the page; a picture is drawn from its prompt's sprite (a row for each seed, a column for each
   layer), and in the zoom replaced by the PNG file beside the page where there is one. Text is set
   only as text. */
(function () {
  "use strict";
  var data = JSON.parse(document.getElementById("data").textContent);
  var S = data.seeds.length, L = data.layers.length, N = data.prompts.length;
  var sprites = data.sprites.map(function (uri) {
    var image = new Image();
    image.src = uri;
    return image;
  });
  var ui = {};
  ["layer", "layer-name", "find", "seed", "question", "flag", "shown", "grid", "zoom", "annotate"]
    .forEach(function (id) { ui[id] = document.getElementById(id); });
  var tiles = []; /* (N,S) */
  var open = { row: 0, layer: 0 };

  function element(name, properties, children) {
    var e = document.createElement(name);
    Object.keys(properties || {}).forEach(function (key) { e[key] = properties[key]; });
    (children || []).forEach(function (child) { e.append(child); });
    return e;
  }

  function layerName(layer) {
    var number = data.layers[layer];
    return number < 0 ? "native" : number + " of " + data.blocks;
  }

  /* Draws picture (row, layer); row = prompt * S + seed. */
  function draw(canvas, row, layer) {
    var image = sprites[Math.floor(row / S)];
    if (!image.complete) {
      image.addEventListener("load", function () { draw(canvas, row, layer); }, { once: true });
      return;
    }
    canvas.width = data.width;
    canvas.height = data.height;
    canvas.getContext("2d").drawImage(image, layer * data.width, (row % S) * data.height,
      data.width, data.height, 0, 0, data.width, data.height);
  }

  function signsOf(row, layer) {
    var bits = data.flags[row * L + layer];
    return data.signs.filter(function (name, i) { return bits >> i & 1; });
  }

  function caption(row, layer) {
    return data.prompts[Math.floor(row / S)] + ", seed " + data.seeds[row % S] + ", layer " + layerName(layer);
  }

  function scoreOf(question, row, layer) {
    return question < 0 ? null : data.questions[question].score[row * L + layer];
  }

  /* ---- the grid ---- */

  function makeGrid() {
    ui.grid.style.setProperty("--seeds", Math.min(S, 4));
    for (var p = 0; p < N; p++) {
      var row = element("div", { className: "tiles" });
      for (var s = 0; s < S; s++) {
        var tile = element("button", { className: "tile" }, [element("canvas")]);
        tile.dataset.row = p * S + s;
        tiles.push(tile);
        row.append(tile);
      }
      ui.grid.append(element("div", { className: "card" },
        [element("p", { textContent: data.prompts[p], title: data.prompts[p] }), row]));
    }
    ui.grid.addEventListener("click", function (event) {
      var tile = event.target.closest(".tile");
      if (tile) zoom(+tile.dataset.row, +ui.layer.value);
    });
  }

  /* Whether a row passes the filter of signatures: those of its picture in this layer, or of the
     row with the chosen question. */
  function hasSign(row, layer, question, sign) {
    if (sign < 0) return true;
    var bits = data.flags[row * L + layer];
    if (question >= 0) bits |= data.questions[question].rows[row];
    return (bits >> sign & 1) === 1;
  }

  function update() {
    var layer = +ui.layer.value, find = ui.find.value.toLowerCase(), seed = ui.seed.value;
    var question = +ui.question.value, flag = +ui.flag.value, shown = 0;
    ui["layer-name"].textContent = layerName(layer);
    ui.layer.setAttribute("aria-valuetext", layerName(layer));
    tiles.forEach(function (tile, row) {
      var here = (seed === "" || +seed === row % S) && hasSign(row, layer, question, flag);
      tile.hidden = !here;
      tile.here = here;
    });
    Array.prototype.forEach.call(ui.grid.children, function (card, p) {
      var own = tiles.slice(p * S, p * S + S);
      card.hidden = data.prompts[p].toLowerCase().indexOf(find) < 0 ||
        !own.some(function (tile) { return tile.here; });
      own.forEach(function (tile, s) {
        tile.here = tile.here && !card.hidden;
        if (tile.here) { shown++; paint(tile, p * S + s, layer, question); }
      });
    });
    ui.shown.textContent = shown + " of " + N * S + " pictures of layer " + layerName(layer) +
      (question >= 0 ? "; framed: the answer to \u201c" + data.questions[question].name + "\u201d is yes" : "");
  }

  function paint(tile, row, layer, question) {
    var score = scoreOf(question, row, layer), signs = signsOf(row, layer);
    draw(tile.firstChild, row, layer);
    tile.classList.toggle("yes", score !== null && score >= 0.5);
    tile.setAttribute("aria-label", caption(row, layer) +
      (score === null ? "" : score >= 0.5 ? ", yes" : ", no") + (signs.length ? ", " + signs.join(", ") : ""));
    while (tile.children.length > 1) tile.lastChild.remove();
    signs.slice(0, 1).forEach(function (name) { tile.append(element("i", { textContent: name })); });
  }

  /* ---- zoom ---- */

  function fullPicture(image, row, layer) {
    var file = data.files[row * L + layer], canvas = element("canvas");
    draw(canvas, row, layer);
    image.src = canvas.toDataURL();
    image.alt = caption(row, layer);
    if (!file || data.full <= data.width) return;
    var full = new Image();
    image.dataset.wanted = file;
    full.onload = function () { if (image.dataset.wanted === file) image.src = file; };
    full.src = file;
  }

  function zoom(row, layer) {
    open.row = row;
    open.layer = layer;
    var prompt = Math.floor(row / S), image = element("img"), list = element("dl");
    var fact = function (name, value) {
      list.append(element("dt", { textContent: name }), element("dd", { textContent: value }));
    };
    fact("layer", layerName(layer));
    fact("seed", data.seeds[row % S]);
    data.questions.forEach(function (q) {
      var score = q.score[row * L + layer], rows = q.rows[row];
      if (q.ask[prompt] === null) return;
      fact(q.name, (score === null ? "no answer" : score === 1 ? "yes" : score === 0 ? "no" : "" + score) +
        (rows & 8 ? " \u00b7 never emerges" : "") + (rows & 16 ? " \u00b7 unstable" : ""));
    });
    signsOf(row, layer).forEach(function (name) { fact(name, data.measures[data.signs.indexOf(name)]); });
    var side = element("div", {}, [list]);
    if (data.files[row * L + layer])
      side.append(element("a", { href: data.files[row * L + layer], textContent: "open the PNG", className: "png" }));
    var strip = element("div", { className: "strip" });
    data.layers.forEach(function (number, l) {
      var canvas = element("canvas");
      draw(canvas, row, l);
      strip.append(element("button", { className: l === layer ? "on" : "", title: layerName(l),
        onclick: function () { zoom(row, l); } }, [canvas, number < 0 ? "native" : "" + number]));
    });
    fullPicture(image, row, layer);
    ui.zoom.replaceChildren(
      element("button", { className: "close", textContent: "\u2715", ariaLabel: "Close", onclick: function () { ui.zoom.close(); } }),
      element("h2", { textContent: data.prompts[prompt] }),
      element("div", { className: "look-at" }, [image, side]), strip);
    if (!ui.zoom.open) ui.zoom.showModal();
    strip.children[layer].scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /* The next picture that is shown, in this direction. */
  function neighbour(row, by) {
    for (var next = row + by; next >= 0 && next < tiles.length; next += by)
      if (tiles[next].here) return next;
    return row;
  }

  ui.zoom.addEventListener("keydown", function (event) {
    var row = open.row, layer = open.layer;
    if (event.key === "ArrowLeft") layer = Math.max(layer - 1, 0);
    else if (event.key === "ArrowRight") layer = Math.min(layer + 1, L - 1);
    else if (event.key === "ArrowUp") row = neighbour(row, -1);
    else if (event.key === "ArrowDown") row = neighbour(row, 1);
    else return;
    event.preventDefault();
    zoom(row, layer);
  });
  ui.zoom.addEventListener("click", function (event) { if (event.target === ui.zoom) ui.zoom.close(); });
  ui.zoom.addEventListener("close", function () { tiles[open.row].focus(); });

  /* ---- controls ---- */

  function fill(select, first, names) {
    select.append(element("option", { value: first[0], textContent: first[1] }));
    names.forEach(function (name, i) { select.append(element("option", { value: i, textContent: name })); });
  }

  ui.layer.max = L - 1;
  ui.layer.value = L - 1 - (data.layers[L - 1] < 0 && L > 1 ? 1 : 0);
  fill(ui.seed, ["", "all"], data.seeds);
  fill(ui.question, [-1, "none"], data.questions.map(function (q) { return q.name; }));
  fill(ui.flag, [-1, "all pictures"], data.signs);
  if (data.questions.length) ui.question.value = 0;
  ["layer", "find", "seed", "question", "flag"].forEach(function (id) {
    ui[id].addEventListener("input", update);
  });
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") ||
        /^(SELECT|INPUT)$/.test(event.target.tagName)) return;
    if (event.key === "ArrowLeft") ui.layer.stepDown();
    else if (event.key === "ArrowRight") ui.layer.stepUp();
    else if (event.key === "/") ui.find.focus();
    else return;
    event.preventDefault();
    update();
  });
  makeGrid();
  update();
  annotation({ data: data, element: element, fullPicture: fullPicture, button: ui.annotate,
    question: function () { return +ui.question.value; } });
})();
