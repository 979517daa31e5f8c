/* Annotation by people: one picture at a time, in a random order that is kept, without its layer.
   What is done is kept in this browser (localStorage) for each experiment, question and annotator;
   the result is a CSV like annotations/QUESTION.csv, with the annotator in a column more. */
function annotation(page) {
  "use strict";
  var data = page.data, element = page.element;
  var S = data.seeds.length, L = data.layers.length;
  var dialog = document.getElementById("work");
  var questions = data.questions.length ? data.questions : [{
    name: "match", ask: data.prompts.map(function (p) { return "Does the picture show: " + p + "?"; })
  }];
  var work = null; /* what is being annotated */

  /* ---- keeping ---- */

  function key(question, name) {
    return "dlens/" + data.identity + "/" + questions[question].name + "/" + name;
  }

  function read(name) {
    try { return JSON.parse(localStorage.getItem(name)); } catch (e) { return null; }
  }

  function keep() {
    try {
      localStorage.setItem(key(work.question, work.name), JSON.stringify({
        seed: work.seed, scale: work.scale, answers: work.answers, done: work.done }));
      work.kept = true;
    } catch (e) { work.kept = false; }
  }

  /* Names that have annotated this question in this browser. */
  function annotators(question) {
    var start = key(question, ""), names = [];
    try {
      for (var i = 0; i < localStorage.length; i++)
        if (localStorage.key(i).indexOf(start) === 0) names.push(localStorage.key(i).slice(start.length));
    } catch (e) { /* no storage: nobody */ }
    return names.sort();
  }

  /* ---- order ---- */

  /* Numbers from 0 to 1 from a seed of 32 bits (mulberry32). */
  function random(seed) {
    return function () {
      seed = seed + 0x6D2B79F5 | 0;
      var t = Math.imul(seed ^ seed >>> 15, 1 | seed);
      t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
      return ((t ^ t >>> 14) >>> 0) / 4294967296;
    };
  }

  /* All pictures that the question asks about and that are there, shuffled (Fisher, Yates). */
  function orderOf(question, seed) {
    var list = [], next = random(seed);
    data.files.forEach(function (file, cell) {
      if (file && data.layers[cell % L] >= 0 && questions[question].ask[Math.floor(cell / L / S)] !== null)
        list.push(cell);
    });
    for (var i = list.length - 1; i > 0; i--) {
      var j = Math.floor(next() * (i + 1)), other = list[i];
      list[i] = list[j];
      list[j] = other;
    }
    return list;
  }

  /* ---- work ---- */

  function begin(question, name, scale) {
    var old = read(key(question, name));
    work = { question: question, name: name,
      seed: old && old.seed >= 0 ? old.seed : Math.floor(Math.random() * 4294967296),
      scale: old && old.done && old.done.length && old.scale ? old.scale : scale,
      answers: old && old.answers || {}, done: old && old.done || [], kept: true };
    work.order = orderOf(question, work.seed);
    keep();
    show();
  }

  /* answers[cell]: a score, or null where it was skipped; done: cells in the order of answering. */
  function next() {
    for (var i = 0; i < work.order.length; i++)
      if (!(work.order[i] in work.answers)) return work.order[i];
    return -1;
  }

  function answer(score) {
    var cell = next();
    if (cell < 0) return;
    work.answers[cell] = score;
    work.done.push(cell);
    keep();
    show();
  }

  function undo() {
    if (!work.done.length) return;
    delete work.answers[work.done.pop()];
    keep();
    show();
  }

  /* Skipped pictures come again. */
  function again() {
    work.done = work.done.filter(function (cell) { return work.answers[cell] !== null; });
    Object.keys(work.answers).forEach(function (cell) { if (work.answers[cell] === null) delete work.answers[cell]; });
    keep();
    show();
  }

  /* ---- export ---- */

  function field(text) {
    text = String(text);
    return /[",\r\n]/.test(text) ? "\"" + text.replace(/"/g, "\"\"") + "\"" : text;
  }

  function csv(question, name, answers) {
    var layers = data.layers.filter(function (layer) { return layer >= 0; });
    var lines = [["prompt"].concat(layers, ["seed", "annotator"])];
    data.prompts.forEach(function (prompt, p) {
      if (questions[question].ask[p] === null) return;
      data.seeds.forEach(function (seed, s) {
        var cells = data.layers.map(function (layer, l) {
          var score = answers[(p * S + s) * L + l];
          return score === undefined || score === null ? "" : score;
        }).filter(function (score, l) { return data.layers[l] >= 0; });
        lines.push([prompt].concat(cells, [seed, name]));
      });
    });
    return lines.map(function (line) { return line.map(field).join(","); }).join("\n") + "\n";
  }

  function save() {
    var text = csv(work.question, work.name, work.answers);
    var url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    var name = questions[work.question].name + "-" + (work.name.replace(/[^\w-]+/g, "_") || "anonymous") + ".csv";
    var link = element("a", { href: url, download: name });
    dialog.append(link);
    link.click();
    link.remove();
    setTimeout(function () { URL.revokeObjectURL(url); }, 10000);
  }

  /* ---- what is seen ---- */

  function button(text, action, name) {
    return element("button", { textContent: text, onclick: action, className: name || "" });
  }

  function closing() {
    var close = button("\u2715", function () { dialog.close(); }, "close");
    close.setAttribute("aria-label", "Close");
    return close;
  }

  function labelled(text, control) {
    return element("label", {}, [text + " ", control]);
  }

  /* Who annotates what. */
  function ask() {
    work = null;
    var name = element("input", { type: "text", id: "annotator", autocomplete: "off" });
    var question = element("select", { id: "asked" }), scale = element("select", { id: "scale" });
    var known = element("div", { className: "row" });
    questions.forEach(function (q, i) { question.append(element("option", { value: i, textContent: q.name })); });
    scale.append(element("option", { value: 1, textContent: "yes or no" }),
      element("option", { value: 10, textContent: "0 to 10" }));
    question.value = Math.max(page.question(), 0);
    function list() {
      known.replaceChildren.apply(known, annotators(+question.value).map(function (who) {
        return button("go on as " + (who || "(no name)"), function () { begin(+question.value, who, +scale.value); });
      }));
    }
    question.addEventListener("input", list);
    list();
    var start = button("Begin", function () { begin(+question.value, name.value.trim(), +scale.value); }, "main");
    name.addEventListener("keydown", function (event) { if (event.key === "Enter") start.click(); });
    dialog.replaceChildren(closing(), element("h2", { textContent: "Annotate by hand" }),
      element("p", { textContent: "One picture at a time, in random order, without its layer. What you do is kept in this browser; export it as CSV when you like. Several people can annotate: each under a name of their own." }),
      element("div", { className: "row" }, [labelled("Your name", name), labelled("Question", question), labelled("Scale", scale)]),
      element("div", { className: "row answers" }, [start]), known);
    if (!dialog.open) dialog.showModal();
    name.focus();
  }

  function answers() {
    var list = [];
    if (work.scale === 1)
      list.push(button("Yes (y)", function () { answer(1); }, "main"), button("No (n)", function () { answer(0); }, "main"));
    else
      for (var i = 0; i <= 10; i++)
        list.push(button(String(i), answer.bind(null, i)));
    return list;
  }

  function show() {
    var cell = next(), done = work.done.length, image = element("img");
    var progress = element("progress", { max: work.order.length, value: done });
    progress.setAttribute("aria-label", "done");
    var parts = [closing()];
    if (cell >= 0) {
      page.fullPicture(image, Math.floor(cell / L), cell % L);
      image.alt = "the picture to judge";
      parts.push(element("p", { className: "asked", textContent: questions[work.question].ask[Math.floor(cell / L / S)] }),
        image, element("div", { className: "row answers" }, answers()));
    } else {
      parts.push(element("h2", { textContent: "All pictures are done." }));
    }
    var skipped = work.done.filter(function (c) { return work.answers[c] === null; }).length;
    var tools = [button("Skip (s)", function () { answer(null); }, "skip"), button("Undo (u)", undo, "undo"),
      button("Export CSV", save, "export"), button("Others", ask, "others")];
    if (skipped) tools.push(button("Ask the " + skipped + " skipped again", again, "again"));
    parts.push(element("div", { className: "row" }, tools), progress,
      element("p", { className: "hint", textContent: done + " of " + work.order.length + " \u00b7 " + (work.name || "no name") +
        (work.scale === 1 ? " \u00b7 keys y n s u" : " \u00b7 keys 0 to 9, s u") +
        (work.kept ? "" : " \u00b7 this browser keeps nothing: export before you close the page") }));
    dialog.replaceChildren.apply(dialog, parts);
    if (!dialog.open) dialog.showModal();
  }

  dialog.addEventListener("keydown", function (event) {
    if (!work || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "s") answer(null);
    else if (event.key === "u" || event.key === "Backspace") undo();
    else if (work.scale === 1 && event.key === "y") answer(1);
    else if (work.scale === 1 && event.key === "n") answer(0);
    else if (work.scale !== 1 && /^[0-9]$/.test(event.key)) answer(+event.key);
    else return;
    event.preventDefault();
  });
  page.button.addEventListener("click", ask);
}
