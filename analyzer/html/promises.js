/* Regions in which the program promised not to allocate, and did. */

const PLACES_SHOWN = 5;

function regionPlace(site) {
  const name = make("button", { type: "button", class: "link", title: "Show its stack", on: { click: () => showSite(site) } },
                    nameOf(siteName(site), "name code"));
  return make("li", {}, name, site.blamed && placeBeside(site.blamed) ? make("span", { class: "place", text: site.blamed.place }) : null,
              make("span", { class: "note", text: `${counted(site.allocatedBlocks, "block")}, ${bytes(site.allocated)}, ${controllers[site.controller].name}` }));
}

function showPromises() {
  if (!data.regions.length) return;
  data.regions.forEach((region, i) => {
    const own = sites.filter((site) => site.region === i).sort((a, b) => b.allocatedBlocks - a.allocatedBlocks);
    const more = own.length > PLACES_SHOWN ? make("p", { class: "note", text: `and ${counted(own.length - PLACES_SHOWN, "more call site")}` }) : null;
    byId("promises-list").append(
      make("h3", {}, nameOf(region.name), " ", make("span", { class: "chip leak", text: counted(region.allocations, "allocation") }),
           make("span", { class: "note", text: " " + bytes(region.bytes) })),
      make("ul", { class: "places" }, ...own.slice(0, PLACES_SHOWN).map(regionPlace)));
    if (more) byId("promises-list").append(more);
  });
  if (data.regionsLeftOut)
    byId("promises-list").append(make("p", { class: "hint", text: `${counted(data.regionsLeftOut, "more region")} not in this page.` }));
  byId("promises").hidden = false;
}
