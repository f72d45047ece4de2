// Keys for the review form; without this file all of it works by mouse and Tab.
"use strict";
const form = document.getElementById("review");
const press = (decision) => form.querySelector(`button[value="${decision}"]`).click();
const first = (...selectors) => selectors.map((each) => form.querySelector(each)).find((each) => each);
const typing = (target) => target.matches("input, textarea, select");
const changed = () => [...form.querySelectorAll("select")].some((each) => each.value);
const keys = {
  k: () => press("keep"),
  d: () => press("drop"),
  r: () => (changed() ? press("relabel") : first("select[data-doubt]", "select").focus()),
  e: () => document.getElementById("caption").focus(),
  s: () => document.getElementById("skip")?.click(),
};
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    press("edit");
  } else if (event.key === "Escape") {
    document.activeElement.blur();
  } else if (!typing(event.target) && !event.ctrlKey && !event.metaKey && !event.altKey && event.key in keys) {
    event.preventDefault();
    keys[event.key]();
  }
});
