// An extension of OHIF: how a study opens when its address asks for the hanging protocol `glionode`. It is a part of
// app-config.js, so OHIF itself is not changed.
//
// The address names the series on the left (`reference`), the segmentation over it (`overlay`), the series on the right
// (`beside`) and a point in the patient (`at`: x,y,z in mm,
// in the frame of reference `frame`). Every series opens at the slice through that point, and
// when the user scrolls one, the others follow by position. OHIF's own synchronisation also lets the series that
// follows move the other one, so thin slices beside thick ones could not be scrolled one by one.
(() => {
  const PROTOCOL = 'glionode';
  const PARALLEL = 0.9; // cosine between the normals of two series that can be scrolled together
  const asked = name => new URLSearchParams(window.location.search).get(name);

  function protocol() {
    const rule = (attribute, value, required) => ({attribute, constraint: {equals: {value}}, required, weight: 1});
    const viewport = (ids, place) => ({
      viewportOptions: {viewportId: ['default', 'beside'][place], initialImageOptions: {custom: 'sopInstanceLocation'}},
      displaySets: ids.map(id => ({id})),
    });
    const selector = name => ({
      // Of a series that OHIF has split, the part with the image that the address names.
      seriesMatchingRules: [rule('SeriesInstanceUID', asked(name), true), rule('isDisplaySetFromUrl', true, false)],
    });
    const named = ids => ids.filter(asked);
    const viewports = [['reference', 'overlay'], ['beside']].map(named).filter(ids => ids.length).map(viewport);
    return {
      protocol: {
        id: PROTOCOL,
        name: 'GlioNode',
        protocolMatchingRules: [],
        toolGroupIds: ['default'],
        numberOfPriorsReferenced: 0,
        defaultViewport: {
          viewportOptions: {viewportType: 'stack', toolGroupId: 'default', allowUnmatchedView: true},
          displaySets: [{id: 'any', matchedDisplaySetsIndex: -1}],
        },
        displaySetSelectors: {
          ...Object.fromEntries(named(['reference', 'overlay', 'beside']).map(name => [name, selector(name)])),
          any: {seriesMatchingRules: [{attribute: 'numImageFrames', constraint: {greaterThan: {value: 0}}, weight: 1}]},
        },
        stages: [{
          name: 'first view',
          viewportStructure: {layoutType: 'grid', properties: {rows: 1, columns: viewports.length}},
          viewports,
        }],
      },
    };
  }

  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const along = (point, direction, mm) => point.map((value, axis) => value + direction[axis] * mm);

  function planeOf(imageId) {
    const found = window.cornerstone.metaData.get('imagePlaneModule', imageId);
    if (!found?.imagePositionPatient || !found.rowCosines || !found.columnCosines) {
      return undefined;
    }
    const [r, c] = [found.rowCosines, found.columnCosines];
    return {
      ...found,
      normal: [r[1] * c[2] - r[2] * c[1], r[2] * c[0] - r[0] * c[2], r[0] * c[1] - r[1] * c[0]],
    };
  }

  function middleOf(plane) {
    const across = along(plane.imagePositionPatient, plane.rowCosines, (plane.columns / 2) * plane.columnPixelSpacing);
    return along(across, plane.columnCosines, (plane.rows / 2) * plane.rowPixelSpacing);
  }

  function show(viewport, point) {
    let [nearest, least] = [-1, Infinity];
    viewport.getImageIds().forEach((imageId, index) => {
      const plane = planeOf(imageId);
      const distance = plane ? Math.abs(dot(along(point, plane.imagePositionPatient, -1), plane.normal)) : Infinity;
      if (distance < least) {
        [nearest, least] = [index, distance];
      }
    });
    if (nearest >= 0 && nearest !== viewport.getTargetImageIdIndex()) {
      viewport.setImageIdIndex(nearest);
    }
  }

  function listen({viewportGridService, cornerstoneViewportService, hangingProtocolService}) {
    const stack = id => {
      const viewport = cornerstoneViewportService.getCornerstoneViewport(id);
      return viewport?.type === 'stack' && viewport.getImageIds().length ? viewport : undefined;
    };
    const active = () => hangingProtocolService.getState()?.protocolId === PROTOCOL;
    const shown = () => [...viewportGridService.getState().viewports.keys()];
    const opened = new Set();
    let touched; // the viewport under the pointer: OHIF makes it the active one only after it has scrolled

    function open({viewportId, imageIds}) {
      const viewport = active() && stack(viewportId);
      const [point, series] = [(asked('at') ?? '').split(',').map(Number), `${viewportId} ${imageIds[0]}`];
      if (!viewport || opened.has(series) || point.length !== 3 || !point.every(Number.isFinite)) {
        return;
      }
      opened.add(series); // once: OHIF sets the images again when its layout changes, and restores their slice itself
      if (viewport.getFrameOfReferenceUID() === asked('frame')) {
        show(viewport, point);
      }
    }

    function follow({viewportId, imageId}) {
      const leads = viewportId === (touched ?? viewportGridService.getActiveViewportId());
      const source = leads && active() && stack(viewportId);
      const from = source && planeOf(imageId);
      if (!from) {
        return;
      }
      for (const id of shown()) {
        const target = id !== viewportId && stack(id);
        const to = target && planeOf(target.getCurrentImageId());
        const together = to && to.frameOfReferenceUID === from.frameOfReferenceUID;
        if (together && Math.abs(dot(to.normal, from.normal)) > PARALLEL) {
          show(target, middleOf(from));
        }
      }
    }

    function touch({target}) {
      touched = shown().find(id => stack(id)?.element.contains(target));
    }

    document.addEventListener('wheel', touch, {capture: true, passive: true});
    document.addEventListener('pointerdown', touch, true);
    // Events of an element do not bubble, but the document sees them on their way down.
    document.addEventListener('CORNERSTONE_VIEWPORT_NEW_IMAGE_SET', event => open(event.detail), true);
    document.addEventListener('CORNERSTONE_STACK_NEW_IMAGE', event => follow(event.detail), true);
  }

  window.config.extensions.push({
    id: PROTOCOL,
    preRegistration: ({servicesManager}) => listen(servicesManager.services),
    getHangingProtocolModule: () => [{name: PROTOCOL, protocol}],
  });
})();
