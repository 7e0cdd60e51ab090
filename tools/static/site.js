// A picture that is shown smaller than it is opens at its own size.
addEventListener("load", () => {
  for (const picture of document.querySelectorAll(".cell_output img")) {
    if (picture.naturalWidth <= picture.clientWidth || picture.closest("a")) continue;
    const link = document.createElement("a");
    link.href = picture.src;
    link.title = "at full size";
    picture.replaceWith(link);
    link.append(picture);
  }
});
