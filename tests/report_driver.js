/* Uses every control of an experiment's report as a person would, and writes what came of it into
   the page, a line for each: tests/cli/report.sh puts this behind the page and reads the lines. */
(function () {
  "use strict";
  var lines = [], exported = "";
  var byId = function (id) { return document.getElementById(id); };
  var all = function (selector, within) { return Array.prototype.slice.call((within || document).querySelectorAll(selector)); };
  var ok = function (name, condition) { lines.push((condition ? "ok " : "not ok ") + name); };
  var shown = function () {
    return all(".tile").filter(function (tile) { return tile.offsetParent !== null; }).length;
  };
  var key = function (target, name) {
    target.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
  };
  var set = function (id, value) {
    byId(id).value = value;
    byId(id).dispatchEvent(new Event("input", { bubbles: true }));
  };
  var data = JSON.parse(byId("data").textContent);
  var N = data.prompts.length, S = data.seeds.length, L = data.layers.length;
  var pixels = function (canvas) { return canvas.toDataURL(); };
  var create = URL.createObjectURL;
  URL.createObjectURL = function (blob) {
    blob.text().then(function (text) { exported = text; });
    return create.call(URL, blob);
  };

  function grid() {
    ok("no_error_so_far", !window.failed);
    ok("all_pictures", shown() === N * S);
    ok("starts_at_last_layer", +byId("layer").value === L - 1);
    ok("hostile_prompt_is_text", all(".card p").some(function (p) { return p.textContent.indexOf("<script>") >= 0; }) && !window.hostile);
    ok("no_foreign_element", all("img[src^='http'], link, iframe").length === 0);
    var last = pixels(all(".tile canvas")[0]);
    set("layer", 0);
    ok("slider_changes_pictures", pixels(all(".tile canvas")[0]) !== last && byId("layer-name").textContent.indexOf("0 of") === 0);
    key(document.body, "ArrowRight");
    ok("key_moves_layer", +byId("layer").value === 1);
    key(document.body, "ArrowLeft");
    key(document.body, "/");
    ok("key_to_filter", document.activeElement === byId("find"));
    set("find", data.prompts[0].slice(0, 5).toUpperCase());
    ok("filter_by_prompt", shown() === S * data.prompts.filter(function (p) { return p.toLowerCase().indexOf(data.prompts[0].slice(0, 5).toLowerCase()) >= 0; }).length);
    set("find", "");
    set("seed", 1);
    ok("filter_by_seed", shown() === N);
    set("seed", "");
    set("question", 0);
    data.signs.forEach(function (name, i) {
      set("flag", i);
      var expected = 0;
      for (var row = 0; row < N * S; row++)
        expected += (data.flags[row * L] | data.questions[0].rows[row]) >> i & 1;
      ok("filter_by_" + name, shown() === expected);
    });
    set("flag", -1);
    ok("framed_as_scored", all(".tile.yes").length === data.questions[0].score.filter(function (s, i) { return i % L === 0 && s >= 0.5; }).length);
    document.querySelector(".theme").click();
    ok("theme", /dark|light/.test(document.documentElement.dataset.theme));
    ok("links_have_targets", all(".contents a").every(function (a) { return document.querySelector(a.getAttribute("href")); }));
    ok("controls", all("#controls th a").every(function (a) { return a.getAttribute("href") === "controls/" + a.textContent + "/index.html"; }) && all("#controls .figures")[1].querySelectorAll("td").length === 7 * 2 * data.questions.length);
    ok("controls_in_plots", all(".question .pair figure:first-child .curve + text").filter(function (name) { return name.textContent === "shuffled"; }).length === data.questions.length);
    ok("distances", all("#distances svg.chart").length === 2 && all("#distances .figures td").length === 3 * 2 * L);
    ok("plots", all("svg.chart").length === 1 + 3 * data.questions.length + 2);
  }

  function zoom() {
    var box = byId("zoom");
    all(".tile")[0].click();
    ok("zoom_opens", box.open && box.querySelector("h2").textContent === data.prompts[0]);
    ok("zoom_layer", box.querySelector(".strip .on").textContent === "" + data.layers[0]);
    var first = box.querySelector(".look-at img").src;
    key(box, "ArrowRight");
    ok("zoom_next_layer", box.querySelector(".strip .on").textContent === "" + data.layers[1] && box.querySelector(".look-at img").src !== first);
    key(box, "ArrowDown");
    ok("zoom_next_picture", box.querySelector("dd + dt + dd").textContent === data.seeds[1]);
    key(box, "ArrowUp");
    all(".strip button", box)[0].click();
    ok("zoom_strip", box.querySelector(".strip .on").textContent === "" + data.layers[0]);
    ok("zoom_links_png", box.querySelector("a.png").getAttribute("href") === data.files[0]);
    box.querySelector(".close").click();
    ok("zoom_closes", !box.open);
  }

  function annotate() {
    var box = byId("work"), total = data.files.filter(function (f, i) {
      return f && data.questions[0].ask[Math.floor(i / L / S)] !== null;
    }).length;
    byId("annotate").click();
    ok("annotation_opens", box.open);
    byId("annotator").value = "Ann, \"A\"";
    box.querySelector(".answers .main").click();
    ok("asks_the_question", data.questions[0].ask.indexOf(box.querySelector(".asked").textContent) >= 0);
    ok("layer_is_hidden", box.textContent.indexOf("layer") < 0);
    key(box, "y");
    key(box, "n");
    key(box, "s");
    ok("counts", box.textContent.indexOf("3 of " + total) >= 0);
    box.querySelector(".undo").click();
    ok("undo", box.textContent.indexOf("2 of " + total) >= 0);
    var now = box.querySelector("img").src;
    box.querySelector(".skip").click();
    ok("skip_goes_on", box.querySelector("img").src !== now || total < 4);
    box.querySelector(".again").click();
    ok("skipped_come_again", box.textContent.indexOf("2 of " + total) >= 0 && box.querySelector("img").src === now);
    box.querySelector(".others").click();
    var old = all("button", box).filter(function (b) { return b.textContent === "go on as Ann, \"A\""; });
    ok("progress_is_kept", old.length === 1);
    byId("annotator").value = "Bob";
    byId("scale").value = "10";
    box.querySelector(".answers .main").click();
    ok("another_annotator", box.textContent.indexOf("0 of " + total) >= 0);
    key(box, "7");
    all(".answers button", box)[10].click();
    ok("scale_of_ten", box.textContent.indexOf("2 of " + total) >= 0);
    box.querySelector(".others").click();
    all("button", box).filter(function (b) { return b.textContent === "go on as Ann, \"A\""; })[0].click();
    ok("goes_on", box.textContent.indexOf("2 of " + total) >= 0);
    for (var i = 2; i < total; i++)
      key(box, i % 2 ? "y" : "n");
    ok("comes_to_an_end", box.textContent.indexOf("All pictures are done") >= 0);
    box.querySelector(".export").click();
  }

  window.addEventListener("error", function () { window.failed = true; });
  setTimeout(function () {
    try {
      localStorage.clear();
      grid();
      zoom();
      annotate();
    } catch (error) {
      lines.push("not ok driver: " + error);
    }
    setTimeout(function () {
      ok("no_error", !window.failed);
      var result = document.createElement("pre");
      result.textContent = "\n@begin\n" + lines.join("\n") + "\n@csv\n" + exported + "@end\n";
      document.body.replaceChildren(result);
    }, 500);
  }, 800);
})();
