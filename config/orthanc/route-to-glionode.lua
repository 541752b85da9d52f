-- Sends the MR instances of every stable study to the modality "glionode", each instance once.
--
-- `glionode doctor --orthanc URL` applies it at once, until Orthanc restarts. To keep it, copy this file beside
-- orthanc.json and list it in "LuaScripts", after any script of your own (see the fragment orthanc.json beside it).
--
-- Why it does not loop: only instances of series with Modality MR are sent, while the node returns SEG and SR. What the
-- node itself sent is skipped by its calling AE title. Every instance that the node has accepted gets the metadata
-- below, so that only new instances are sent when a study becomes stable again. An instance is marked after the job has
-- succeeded. While the node cannot be reached, the job fails and nothing is marked; everything is sent again when the
-- job is resubmitted (Orthanc Explorer, Jobs) or the study becomes stable again.

if GlioNode == nil then
  GlioNode = {
    jobs = {},     -- job -> instances that it sends
    sending = {},  -- instance -> true while a job has it
    before = { stable = OnStableStudy, success = OnJobSuccess, failure = OnJobFailure },
  }
end

GlioNode.modality = 'glionode'
GlioNode.metadata = '4917'  -- user-defined metadata are 1024 and above

function GlioNode.get(uri)
  local answer = RestApiGet(uri, false)
  if answer == nil then return nil end
  return ParseJson(answer)
end

-- Returns whether an instance is still to be sent: not sent before, not being sent, not made by the node.
function GlioNode.wanted(instance, node)
  if GlioNode.sending[instance] then return false end
  local metadata = GlioNode.get('/instances/' .. instance .. '/metadata?expand')
  return metadata ~= nil and metadata[GlioNode.metadata] == nil and metadata['RemoteAET'] ~= node
end

function GlioNode.unsent(study, node)
  local found = {}
  for _, series in ipairs(GlioNode.get('/studies/' .. study .. '/series') or {}) do
    if series['MainDicomTags']['Modality'] == 'MR' then
      for _, instance in ipairs(series['Instances']) do
        if GlioNode.wanted(instance, node) then table.insert(found, instance) end
      end
    end
  end
  return found
end

function GlioNode.route(study)
  local configuration = GlioNode.get('/modalities/' .. GlioNode.modality .. '/configuration')
  if configuration == nil then return end
  local instances = GlioNode.unsent(study, configuration['AET'])
  if #instances == 0 then return end
  local body = DumpJson({ Resources = instances, Asynchronous = true }, true)
  local answer = RestApiPost('/modalities/' .. GlioNode.modality .. '/store', body, false)
  if answer == nil then return end
  GlioNode.jobs[ParseJson(answer)['ID']] = instances
  for _, instance in ipairs(instances) do GlioNode.sending[instance] = true end
  print('GlioNode: study ' .. study .. ': sending ' .. #instances .. ' MR instances')
end

function OnStableStudy(study, tags, metadata)
  if GlioNode.before.stable then GlioNode.before.stable(study, tags, metadata) end
  GlioNode.route(study)
end

function OnJobSuccess(job)
  if GlioNode.before.success then GlioNode.before.success(job) end
  for _, instance in ipairs(GlioNode.jobs[job] or {}) do
    GlioNode.sending[instance] = nil
    RestApiPut('/instances/' .. instance .. '/metadata/' .. GlioNode.metadata, GlioNode.modality, false)
  end
  GlioNode.jobs[job] = nil
end

function OnJobFailure(job)
  if GlioNode.before.failure then GlioNode.before.failure(job) end
  for _, instance in ipairs(GlioNode.jobs[job] or {}) do GlioNode.sending[instance] = nil end
end
