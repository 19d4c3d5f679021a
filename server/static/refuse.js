// No more reasons can be ticked than a decision has room for; the server refuses more all the same.

const form = document.querySelector("form.refuse");
const boxes = [...form.querySelectorAll('input[type="checkbox"]')];
const most = Number(form.dataset.most);

function follow() {
  const full = boxes.filter((box) => box.checked).length >= most;
  for (const box of boxes) box.disabled = full && !box.checked;
}

form.addEventListener("change", follow);
addEventListener("pageshow", follow);
