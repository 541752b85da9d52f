// An extension of OHIF: how a study opens when its address asks for the hanging protocol `glionode`. It is a part of
// app-config.js, so OHIF itself is not changed.
//
// The address names the series on the left (`reference`), the segmentation over it (`overlay`), the series on the right
// (`beside`) and a point in the patient (`at`: x,y,z in mm, in the frame of reference `frame`). Where both lie in
// different planes, it says which one is reformatted (`reformat`) and the plane of the other one (`plane`: directions of
// its rows and columns). Every series opens at the slice through that point, and when the user scrolls one, the others
// follow by position. OHIF's own synchronisation also lets the series that follows move the other one, so thin slices
// beside thick ones could not be scrolled one by one.
(() => {
  const PROTOCOL = 'glionode';
  const [REFERENCE, BESIDE] = ['default', 'beside']; // viewports
  const PARALLEL = 0.9; // cosine between the normals of two series that can be scrolled together
  const asked = name => new URLSearchParams(window.location.search).get(name);
  const numbers = (name, count) => {
    const found = (asked(name) ?? '').split(',').map(Number);
    return found.length === count && found.every(Number.isFinite) ? found : undefined;
  };

  function protocol() {
    const rule = (attribute, value, required) => ({attribute, constraint: {equals: {value}}, required, weight: 1});
    const viewport = ids => ({
      viewportOptions: {
        viewportId: ids[0] === 'beside' ? BESIDE : REFERENCE,
        ...(ids[0] === asked('reformat') // the volume is turned into the very plane once it is there
          ? {viewportType: 'volume', orientation: 'axial'}
          : {initialImageOptions: {custom: 'sopInstanceLocation'}}),
      },
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

  // The plane that a viewport shows: a point in it, its normal and its frame of reference.
  function shownIn(viewport) {
    if (viewport.type === 'stack') {
      const plane = planeOf(viewport.getCurrentImageId());
      return plane && {point: middleOf(plane), normal: plane.normal, frame: plane.frameOfReferenceUID};
    }
    const {focalPoint, viewPlaneNormal} = viewport.getCamera();
    return {point: focalPoint, normal: viewPlaneNormal, frame: viewport.getFrameOfReferenceUID()};
  }

  function show(viewport, point) {
    if (viewport.type === 'stack') {
      showNearest(viewport, point);
      return;
    }
    const {focalPoint, position, viewPlaneNormal} = viewport.getCamera();
    const mm = dot(along(point, focalPoint, -1), viewPlaneNormal);
    viewport.setCamera({
      focalPoint: along(focalPoint, viewPlaneNormal, mm),
      position: along(position, viewPlaneNormal, mm),
    });
    viewport.render();
  }

  function showNearest(viewport, point) {
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

  // Turn a volume so that rows and columns are those of the asked plane.
  function turn(viewport, [r0, r1, r2, c0, c1, c2]) {
    const normal = [r1 * c2 - r2 * c1, r2 * c0 - r0 * c2, r0 * c1 - r1 * c0];
    viewport.setOrientation({viewPlaneNormal: normal.map(value => -value), viewUp: [-c0, -c1, -c2]});
  }

  function listen({viewportGridService, cornerstoneViewportService, hangingProtocolService}) {
    const imagesIn = id => {
      const viewport = cornerstoneViewportService.getCornerstoneViewport(id);
      return ['stack', 'orthographic'].includes(viewport?.type) && viewport.getImageIds().length ? viewport : undefined;
    };
    const active = () => hangingProtocolService.getState()?.protocolId === PROTOCOL;
    const shown = () => [...viewportGridService.getState().viewports.keys()];
    const opened = new Set();
    let touched; // the viewport under the pointer: OHIF makes it the active one only after it has scrolled

    function open({viewportId}) {
      const viewport = active() && imagesIn(viewportId);
      const series = viewport && `${viewportId} ${viewport.getImageIds()[0]}`;
      if (!viewport || opened.has(series)) {
        return;
      }
      opened.add(series); // once: OHIF sets the images again when its layout changes, and restores their slice itself
      const [point, plane] = [numbers('at', 3), numbers('plane', 6)];
      if (plane && viewport.type === 'orthographic') {
        turn(viewport, plane);
      }
      if (point && viewport.getFrameOfReferenceUID() === asked('frame')) {
        show(viewport, point);
      }
    }

    function follow({viewportId}) {
      const leads = viewportId === (touched ?? viewportGridService.getActiveViewportId());
      const source = leads && active() && imagesIn(viewportId);
      const from = source && shownIn(source);
      if (!from) {
        return;
      }
      for (const id of shown()) {
        const target = id !== viewportId && imagesIn(id);
        const to = target && shownIn(target);
        if (to && to.frame === from.frame && Math.abs(dot(to.normal, from.normal)) > PARALLEL) {
          show(target, from.point);
        }
      }
    }

    function touch({target}) {
      touched = shown().find(id => imagesIn(id)?.element.contains(target));
    }

    document.addEventListener('wheel', touch, {capture: true, passive: true});
    document.addEventListener('pointerdown', touch, true);
    // Events of an element do not bubble, but the document sees them on their way down.
    const when = (name, act) => document.addEventListener(`CORNERSTONE_${name}`, event => act(event.detail), true);
    when('VIEWPORT_NEW_IMAGE_SET', open);
    when('VOLUME_VIEWPORT_NEW_VOLUME', open);
    when('STACK_NEW_IMAGE', follow);
    when('VOLUME_NEW_IMAGE', follow);
  }

  window.config.extensions.push({
    id: PROTOCOL,
    preRegistration: ({servicesManager}) => listen(servicesManager.services),
    getHangingProtocolModule: () => [{name: PROTOCOL, protocol}],
  });
})();
