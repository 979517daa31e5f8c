/* Uses every control of a lens' report, and writes what came of it into the page, a line for each:
   tests/cli/report.sh puts this behind the page and reads the lines. */
(function () {
  "use strict";
  var lines = [];
  var ok = function (name, condition) { lines.push((condition ? "ok " : "not ok ") + name); };
  var find = function (selector) { return document.querySelector(".lens.current " + selector); };
  var name = function () { return find(".name").textContent; };
  var key = function (which) {
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key: which, bubbles: true, cancelable: true }));
  };
  window.addEventListener("error", function () { window.failed = true; });
  function drive() {
    document.querySelector(".theme").click();
    ok("lens_theme", document.documentElement.dataset.theme === "dark" || document.documentElement.dataset.theme === "light");
    ok("lens_starts_at_last", name() === "Layer 4 of 4");
    key("ArrowLeft");
    ok("lens_key_left", name() === "Layer 2 of 4");
    key("Home");
    ok("lens_key_home", name() === "Layer 0 of 4");
    key("End");
    ok("lens_key_end", name() === "Layer 4 of 4");
    var slider = find("input[type=range]");
    slider.value = 1;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    ok("lens_slider", name() === "Layer 2 of 4");
    key("s");
    ok("lens_key_seed", find(".seeds input:checked").value === "1");
    find(".grid td a").click();
    ok("lens_click_on_picture", name() === "Layer 0 of 4" && find(".seeds input:checked").value === "0");
    key("p");
    ok("lens_plays", find(".play").getAttribute("aria-label") === "Pause");
    key("p");
    ok("lens_pauses", find(".play").getAttribute("aria-label") === "Play");
    var chooser = document.querySelector(".prompts");
    chooser.selectedIndex = 1;
    chooser.dispatchEvent(new Event("change"));
    ok("lens_other_prompt", find("h1").textContent.indexOf("a cat") >= 0 && name() === "Layer 0 of 4");
    var rows = Array.prototype.slice.call(document.querySelectorAll(".lens.current .blocks tbody tr"));
    ok("lens_rows_of_blocks", rows.length === 5 && rows.every(function (row) { return row.querySelectorAll("img").length === 6; }));
    ok("lens_rows_are_linked", rows.slice(1).every(function (row, i) { return row.querySelector("th a").getAttribute("href") === "skip-each/block-0" + (i + 1) + "/index.html"; }));
    document.querySelector(".copy").click();
    ok("lens_copy", document.querySelector(".copy").textContent === "copied");
  }
  setTimeout(function () {
    try { drive(); } catch (error) { lines.push("not ok lens_driver: " + error); }
    ok("lens_no_error", !window.failed);
    var result = document.createElement("pre");
    result.textContent = "\n@begin\n" + lines.join("\n") + "\n@csv\n@end\n";
    document.body.replaceChildren(result);
  }, 500);
})();
